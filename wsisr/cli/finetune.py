"""`wsisr finetune`: fits the shipped model to a lab's own slides, and says whether to use the result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsisr.cli.datasets import CasePatternOption
from wsisr.cli.options import QuietOption, TrainDeviceOption, choice_option, flag, slide_argument
from wsisr.cli.slide_words import SLIDES_HELP

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from wsisr.evaluation.comparison import MeanGain
    from wsisr.finetuning.job import FinetuneEvent
    from wsisr.finetuning.report import FinetuneReport
    from wsisr.progress import Progress


def finetune_command(
    slides: Annotated[list[Path], slide_argument(SLIDES_HELP, metavar="SLIDE")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Folder whose name the model gets. By default finetuned-x2."
        ),
    ] = None,
    minutes: Annotated[
        float, typer.Option(metavar="MIN", help="Time to train; pairs and evaluation come on top.")
    ] = 10.0,
    scale: Annotated[int, choice_option("2|4", help="Enlarge 2 or 4 times along each axis.")] = 2,
    validation: Annotated[
        list[Path] | None,
        typer.Option(metavar="SLIDE", help="Slide that only judges; may be repeated. By default cases are drawn."),
    ] = None,
    case_pattern: CasePatternOption = None,
    device: TrainDeviceOption = "auto",
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="CPU threads. By default one for each core.", min=1)
    ] = None,
    overwrite: Annotated[bool, flag("--overwrite", "Begin again in the folder of another finetuning.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Fit the shipped model to your slides, and say if it gains."""
    from contextlib import closing

    from wsisr.cli.console import print_line, stdout_console
    from wsisr.cli.progress import print_first_line, show_preparation, show_progress
    from wsisr.cli.selection import check_device_option, report_as_usage_error
    from wsisr.cli.shutdown import catch_stop_signals, stop_between_steps
    from wsisr.cli.streams import allow_lost_output
    from wsisr.finetuning.request import FinetuneRequest
    from wsisr.parallel.cpu import count_usable_cores

    allow_lost_output()
    check_device_option(device)
    with report_as_usage_error():
        request = FinetuneRequest(
            slides,
            output=output,
            minutes=minutes,
            scale=scale,
            validation=validation or (),
            case_pattern=case_pattern,
            device=device,
            jobs=threads or count_usable_cores(),
            overwrite=overwrite,
        )
    print_first_line(f"the model is to be {request.weights_path}", quiet=quiet)
    with show_preparation("loads PyTorch", quiet=quiet):
        import torch

        from wsisr.cli.resources import warn_of_unused_gpu
        from wsisr.finetuning.job import run_finetuning
    if threads is not None:
        torch.set_num_threads(threads)
    warn_of_unused_gpu(device)
    reports: list[FinetuneReport] = []
    with catch_stop_signals() as stop, closing(run_finetuning(request)) as events:
        advice = "stopped; the same command goes on from there"
        steps = _relay_events(stop_between_steps(events, stop, advice), reports, quiet=quiet)
        for _ in show_progress(steps, _format_pace, quiet=quiet):
            pass
    report = reports[0]
    stdout_console.print(build_comparison_table(report))
    print_line(report.verdict)
    print_line(report.advice)


def _relay_events(events: Iterable[FinetuneEvent], reports: list[FinetuneReport], *, quiet: bool) -> Iterator[Progress]:
    """Yield the progress, print notes and warnings, and add the report to a list."""
    from wsisr.cli.console import print_message, print_warnings
    from wsisr.finetuning.report import FinetuneReport
    from wsisr.progress import Progress
    from wsisr.upscaling.job import Warned

    for event in events:
        if isinstance(event, Progress):
            yield event
        elif isinstance(event, FinetuneReport):
            reports.append(event)
        elif isinstance(event, Warned):
            print_warnings([event.text])
        else:
            print_message(event.text, quiet=quiet)


def _format_pace(progress: Progress, seconds: float) -> str:
    from wsisr.cli.progress import format_rate

    if progress.stage == "train":
        return format_rate(progress, seconds, "step")
    return {"pace": "how fast this machine trains", "evaluate": "shipped and finetuned"}.get(
        progress.stage, f"{progress.done}/{progress.total}"
    )


def build_comparison_table(report: FinetuneReport) -> Table:
    """Build the table of gains over bicubic, shipped and finetuned, and of their difference with its interval."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from wsisr.cli.console import literal_text
    from wsisr.progress import format_count

    first = report.inputs[0]
    over = (
        f"95 % intervals over {format_count(first.count, 'held-out case')}"
        if first.unit == "case"
        else f"95 % intervals over {format_count(first.count, 'region')} of the only held-out case, "
        f"{report.held_out_cases[0]}: of other patients they say nothing"
    )
    table = Table(title=literal_text(f"dB over bicubic; {over}"), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("input")
    for name in (f"shipped,\n{report.start}", f"finetuned,\n{report.weights.stem}", "finetuned\nminus shipped"):
        table.add_column(name, justify="right")
    for item in report.inputs:
        table.add_row(item.label, *map(_format_gain, (item.before, item.after, item.difference)))
    return table


def _format_gain(gain: MeanGain) -> str:
    """Return `+1.05 (+0.92 to +1.18)`."""
    interval = "" if gain.interval is None else f" ({gain.interval[0]:+.2f} to {gain.interval[1]:+.2f})"
    return f"{gain.mean:+.2f}{interval}"
