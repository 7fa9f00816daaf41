"""`wsisr train`: a network from a dataset; stopped at any moment, the same command goes on."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsisr.cli.console import EXIT_INTERRUPTED
from wsisr.cli.options import DeviceOption
from wsisr.cli.shutdown import catch_stop_signals
from wsisr.progress import format_count

if TYPE_CHECKING:
    from wsisr.parallel.processes import StopFlag
    from wsisr.progress import Progress
    from wsisr.training.loop import StepReport, TrainingRun
    from wsisr.training.tensorboard import TensorBoardLog

LOSS_SMOOTHING = 0.98
"""Share of the past in the loss that is shown; a single batch says little."""


def train_command(
    config: Annotated[Path, typer.Argument(help="TOML file with the tables network, data and schedule.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of this run: checkpoint, weights, metrics.")],
    device: DeviceOption = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads; all cores by default.", min=1)] = None,
    board: Annotated[bool, typer.Option("--board", help="Write for TensorBoard, too: a folder `board` in it.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and warnings only.")] = False,
) -> None:
    """Train a network, or go on with a run that was stopped."""
    from contextlib import closing, nullcontext

    import torch

    from wsisr.cli.console import print_message
    from wsisr.cli.progress import show_progress
    from wsisr.models.backends.device import torch_device
    from wsisr.training.config import read_train_config
    from wsisr.training.loop import BEST_WEIGHTS_FILE, TrainingRun
    from wsisr.training.tensorboard import TensorBoardLog

    if threads is not None:
        torch.set_num_threads(threads)
    run = TrainingRun(read_train_config(config), output, torch_device(device))
    steps = run.config.schedule.steps
    watch = StatusLine()
    told = closing(TensorBoardLog(output)) if board and run.is_main_process else nullcontext()
    quiet = quiet or not run.is_main_process
    with catch_stop_signals() as stop, told as into, closing(train_until_stopped(run, watch, stop, into)) as passing:
        if not quiet:
            print_message(describe_start(run))
        for _ in show_progress(passing, watch.format, quiet=quiet):
            pass
    if run.step < steps:
        print_message(f"stopped at step {run.step} of {steps}; the same command goes on from there")
        raise typer.Exit(EXIT_INTERRUPTED)
    if not quiet:
        typer.echo(f"{output / BEST_WEIGHTS_FILE}: {describe_best_score(run)}")


def describe_best_score(run: TrainingRun) -> str:
    """What the weights that were kept are best at; of pixels also what the start was worth, where there was one."""
    kept = {
        "gain": f"{run.best_score:+.2f} dB over bicubic",
        "texture": "nearest to the truth's texture",
        "accuracy": f"{100 * run.best_score:.0f} % of magnifications told right",
    }
    before = (
        f" ({run.initial_metrics['gain_db']:+.2f} dB before training)"
        if run.initial_metrics and run.goal == "gain"
        else ""
    )
    return f"{kept[run.goal]}{before} on the validation patches"


def describe_start(run: TrainingRun) -> str:
    """What is about to happen."""
    from wsisr.training.loop import count_trainable_parameters

    steps = run.config.schedule.steps
    if run.step >= steps:
        return f"{run.folder}: all {steps} steps are done"
    if run.resumed:
        return f"{run.folder}: resuming at step {run.step} of {steps}"
    learning, slides = count_trainable_parameters(run.trainer.network), len(run.sampler.records_by_slide)
    work = f"{format_count(steps, 'step')}, {format_count(slides, 'slide')}"
    return f"{run.folder}: {learning} parameters learn, {work}, on {run.device}"


def train_until_stopped(
    run: TrainingRun, status_line: StatusLine, stop: StopFlag, board: TensorBoardLog | None
) -> Generator[Progress, None, None]:
    """Steps of this call, until they are done or stopping is asked for; then the step in hand is saved."""
    from wsisr.progress import Progress

    start = run.step
    for report in run:
        status_line.update(report)
        if board:
            board.add_report(report)
        yield Progress("train", report.step - start, report.steps - start)
        if stop.is_set():
            run.save()
            return


@dataclass(slots=True)
class StatusLine:
    """What is shown beside the bar."""

    loss: float | None = None
    gain: float | None = None
    position: str = ""

    def update(self, report: StepReport) -> None:
        self.loss = (
            report.loss if self.loss is None else LOSS_SMOOTHING * self.loss + (1 - LOSS_SMOOTHING) * report.loss
        )
        self.gain = self.gain if report.gain_db is None else report.gain_db
        self.position = f"step {report.step}/{report.steps}"

    def format(self, progress: Progress, seconds: float) -> str:
        """`step 1200/3400, 2.1 steps/s, loss 0.0123, +1.52 dB`; the gain is the last one validated."""
        gain = "" if self.gain is None else f", {self.gain:+.2f} dB"
        return f"{self.position}, {progress.done / max(seconds, 1e-9):.2g} steps/s, loss {self.loss or 0:.4f}{gain}"
