"""Many slides in one run: what goes wrong with one stops no other, and a second run takes up what is missing.

One after the other where there is one device: a slide already uses every core of a CPU, and all of a GPU. Of several
GPUs each takes slides beside the others (`wsisr.cli.parallel_batch`); machines are added by `--shard`.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from wsisr.cli.console import print_message, stderr_console, stdout_console
from wsisr.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_PARTLY_FAILED
from wsisr.cli.frontend import STOPPED_MESSAGE
from wsisr.errors import OutputError, WsisrError, describe_error
from wsisr.files import check_output, translate_disk_errors, write_atomically
from wsisr.parallel.processes import StopFlag
from wsisr.progress import format_count
from wsisr.version import __version__

if TYPE_CHECKING:
    from rich.table import Table

    from wsisr.slides import SlideInfo

T = TypeVar("T")

BatchItem = tuple[Path, Path]
"""A slide and its output."""

ReportRow = dict[str, Any]
"""What a report says of a slide: `slide`, `output`, `state`, and what was measured or went wrong."""

EnlargeSlide = Callable[[Path, Path], ReportRow]
"""A slide to its output; raises `WsisrError`, or leaves by `typer.Exit` where it was to stop."""


def select_shard(slides: Sequence[T], shard: str | None) -> Sequence[T]:
    """`2/5` takes every fifth slide from the second on: given the same slides, five shards take each once."""
    if shard is None:
        return slides
    try:
        number, count = (int(part) for part in shard.split("/"))
    except ValueError:
        number = count = 0
    if not 1 <= number <= count:
        raise typer.BadParameter("give NUMBER/COUNT, from 1/COUNT to COUNT/COUNT", param_hint="--shard")
    return slides[number - 1 :: count]


def check_each_file(files: Sequence[Path], good: Callable[[Path], bool]) -> None:
    """Whatever comes of the others; leaves with the exit code of failure where one is not good or not readable."""
    check = good if len(files) == 1 else partial(_good, good=good)  # alone, an error has its own exit code
    if [file for file in files if not check(file)]:
        raise typer.Exit(EXIT_FAILED)


def _good(file: Path, good: Callable[[Path], bool]) -> bool:
    try:
        return good(file)
    except WsisrError as error:
        print_message(f"error: {error}")
        return False


def refuse_shared_outputs(jobs: Sequence[BatchItem]) -> None:
    """Raises `OutputError` where two slides would have one output."""
    slide_of: dict[Path, Path] = {}
    for slide, output in jobs:
        other = slide_of.setdefault(output, slide)
        if other is not slide:
            raise OutputError(
                f"{output}: would be written from {other} and from {slide}; give them in runs of their own"
            )


def run_batch(
    jobs: Sequence[BatchItem], enlarge: EnlargeSlide, stop: StopFlag, report: Path | None = None
) -> list[ReportRow]:
    """Each job done, or its one line of error said and kept; the report is up to date after each, and when it stops."""
    done: list[ReportRow] = []
    try_write_report(report, done)
    for number, job in enumerate(jobs, 1):
        try:
            if stop.is_set():
                print_message(STOPPED_MESSAGE)
                raise typer.Exit(EXIT_INTERRUPTED)
            done.append(attempt_item(job, enlarge, f"{number} of {len(jobs)}"))
        except typer.Exit:
            try_write_report(report, [*done, report_row(job, "stopped")])
            print_message(f"{len(done)} of {len(jobs)} slides were through")
            raise
        try_write_report(report, done)
    return done


def run_single(job: BatchItem, enlarge: EnlargeSlide, report: Path | None = None) -> ReportRow:
    """A job that is a run of its own. What ends it, an error or the wish to stop, is reported, too, and raised."""
    try:
        facts = report_row(job) | enlarge(*job)
    except (typer.Exit, KeyboardInterrupt):
        try_write_report(report, [report_row(job, "stopped")])
        raise
    except Exception as error:
        try_write_report(report, [report_row(job, "failed", error=str(error))])
        raise
    write_batch_report(report, [facts])
    return facts


def attempt_item(job: BatchItem, enlarge: EnlargeSlide, place: str) -> ReportRow:
    """A job done, or its error said and kept; `place` is which of how many it is. A bug costs one slide, no night."""
    try:
        return report_row(job) | enlarge(*job)
    except WsisrError as error:
        return report_failure(job, str(error), place)
    except typer.Exit:
        raise
    except Exception as error:  # noqa: BLE001 - said with its traceback, and kept
        stderr_console.print(traceback.format_exc(), soft_wrap=True, markup=False, highlight=False, emoji=False)
        what = f"{type(error).__name__}: {describe_error(error)}"
        return report_failure(job, f"{job[0]}: a bug of wsisr's, whose traceback is above ({what})", place)


def report_failure(job: BatchItem, error: str, place: str) -> ReportRow:
    """What is to be reported of a job that cannot be done, said on the terminal first."""
    print_message(f"error: {error} ({place})")
    return report_row(job, "failed", error=error)


def report_row(job: BatchItem, state: str | None = None, **more: str) -> ReportRow:
    """The first that a report says of a job."""
    slide, output = job
    return {"slide": str(slide), "output": str(output)} | ({"state": state} if state else {}) | more


def is_written_by_wsisr(output: Path) -> bool:
    """Whether there is an output already, and wsisr wrote it."""
    from wsisr.upscaling.provenance import read_derived_metadata

    with translate_disk_errors(output):
        return (output.is_file() or output.is_dir()) and bool(read_derived_metadata(output))


def find_finished_metadata(output: Path, asked: Mapping[str, str], info: SlideInfo) -> Mapping[str, str]:
    """The note of an output that is there already, of the same slide and parameters; empty where there is none.

    Raises `OutputError` where wsisr wrote it otherwise. Any other file is not finished, and for others to refuse.
    """
    from threading import Event

    from wsisr.slides.files import hash_slide
    from wsisr.upscaling.provenance import describe_difference, digest_metadata, read_derived_metadata

    there = read_derived_metadata(output) if output.exists() else {}
    how = describe_difference(there, asked) if there else None
    if there and not how:  # only now, for it reads all of the slide
        how = describe_difference(there, {**asked, **digest_metadata(hash_slide(info, Event()))})
    if how:
        advice = "choose another name, or replace it with --overwrite"
        raise OutputError(f"{output}: exists already, made otherwise ({how}); {advice}")
    return there


def check_report_path(report: Path | None, results: Iterable[Path]) -> None:
    """Raises `OutputError` where a report would replace anything but a report, or one of the results to come."""
    if report is None:
        return
    with translate_disk_errors(report):
        if report.resolve() in {result.resolve() for result in results}:
            raise OutputError(f"{report}: is to be a result of this run too; give the report another name")
        check_output(report, overwrite=True)
        try:
            is_report = not report.exists() or "wsisr" in json.loads(report.read_bytes())
        except (ValueError, TypeError):
            is_report = False
    if not is_report:
        raise OutputError(f"{report}: exists and is no report of wsisr; choose another name")


def try_write_report(report: Path | None, slides: Sequence[ReportRow]) -> None:
    """As `write_report`, while there is more to do, which a report that cannot be written does not end."""
    try:
        write_batch_report(report, slides)
    except OutputError as error:
        print_message(f"warning: {error}")


def write_batch_report(report: Path | None, slides: Sequence[ReportRow]) -> None:
    """JSON, replaced whole; keys are stable. Raises `OutputError` where it cannot be written."""
    if report is not None:
        write_atomically(report, [json.dumps({"wsisr": __version__, "slides": slides}, indent=2).encode() + b"\n"])


def finish_batch(slides: Sequence[ReportRow], *, quiet: bool) -> None:
    """The table, and the exit code of what failed."""
    if not quiet:
        stdout_console.print(batch_table(slides))
    exit_unless_complete(slides)


def exit_unless_complete(slides: Sequence[ReportRow]) -> None:
    """With the exit code of what failed, or could not all be read; without, where all is well."""
    if count_failures(slides) or any("unreadable" in facts for facts in slides):
        raise typer.Exit(EXIT_PARTLY_FAILED)


def count_failures(slides: Sequence[ReportRow]) -> int:
    return sum(facts["state"] == "failed" for facts in slides)


def batch_table(slides: Sequence[ReportRow]) -> Table:
    """A row a slide."""
    from rich.table import Table
    from rich.text import Text

    from wsisr.cli.progress import format_duration

    shown = Table(
        title=Text(f"{format_count(len(slides), 'slide')}, {count_failures(slides)} failed"), title_justify="left"
    )
    for name in ("slide", "state", "time", "result"):
        shown.add_column(name, overflow="fold")
    for facts in slides:
        took = format_duration(facts["seconds"]) if "seconds" in facts else ""
        result = facts["error"] if "error" in facts else facts["output"]
        if "unreadable" in facts:
            result += f" (not all of the slide could be decoded: {facts['unreadable']})"
        row: tuple[str, ...] = (Path(facts["slide"]).name, facts["state"], took, result)
        shown.add_row(*(Text(value) for value in row))
    return shown
