"""Many slides in one run: what goes wrong with one stops no other, and a second run takes up what is missing.

One after the other where there is one device: a slide already uses every core of a CPU, and all of a GPU. Of several
GPUs each takes slides beside the others (`wsisr.cli.beside`); machines are added by `--shard`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from wsisr import __version__
from wsisr.cli.console import FAILED, answers, remark
from wsisr.errors import OutputError, WsisrError
from wsisr.files import check_output, disk_errors, write_whole
from wsisr.wording import counted

if TYPE_CHECKING:
    from rich.table import Table

T = TypeVar("T")

SOME_FAILED = 3
"""Exit code of a run that others of its slides survived, or that shows white where a slide could not be decoded."""

Job = tuple[Path, Path]
"""A slide and its output."""

Facts = dict[str, Any]
"""What a report says of a slide: `slide`, `output`, `state`, and what was measured or went wrong."""


def of_shard(slides: Sequence[T], shard: str | None) -> Sequence[T]:
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


def look_at_each(files: Sequence[Path], good: Callable[[Path], bool]) -> None:
    """Whatever comes of the others; leaves with the exit code of failure where one is not good or not readable."""
    if [file for file in files if not _good(file, good)]:
        raise typer.Exit(FAILED)


def _good(file: Path, good: Callable[[Path], bool]) -> bool:
    try:
        return good(file)
    except WsisrError as error:
        remark(f"error: {error}")
        return False


def check_jobs(jobs: Sequence[Job]) -> None:
    """Raises `OutputError` where two slides would have one output."""
    slide_of: dict[Path, Path] = {}
    for slide, output in jobs:
        other = slide_of.setdefault(output, slide)
        if other is not slide:
            raise OutputError(
                f"{output}: would be written from {other} and from {slide}; give them in runs of their own"
            )


def run(jobs: Sequence[Job], enlarge: Callable[[Path, Path], Facts], report: Path | None = None) -> list[Facts]:
    """Each job done, or its one line of error said and kept; the report is up to date after each, and when it stops."""
    done: list[Facts] = []
    for number, job in enumerate(jobs, 1):
        try:
            done.append(attempted(job, enlarge, f"{number} of {len(jobs)}"))
        except typer.Exit:
            write_report(report, [*done, {"slide": str(job[0]), "output": str(job[1]), "state": "stopped"}])
            remark(f"{len(done)} of {len(jobs)} slides were through")
            raise
        write_report(report, done)
    return done


def attempted(job: Job, enlarge: Callable[[Path, Path], Facts], place: str) -> Facts:
    """A job done, or its error said and kept; `place` is which of how many it is."""
    slide, output = job
    try:
        return {"slide": str(slide), "output": str(output)} | enlarge(slide, output)
    except WsisrError as error:
        return failed(job, str(error), place)


def failed(job: Job, error: str, place: str) -> Facts:
    """What is to be reported of a job that cannot be done, said on the terminal first."""
    remark(f"error: {error} ({place})")
    return {"slide": str(job[0]), "output": str(job[1]), "state": "failed", "error": error}


def written_by_wsisr(output: Path) -> bool:
    """Whether there is an output already, and wsisr wrote it."""
    from wsisr.cli.info import derived_note

    with disk_errors(output):
        return (output.is_file() or output.is_dir()) and bool(derived_note(output))


def finished(output: Path, note: Mapping[str, str]) -> bool:
    """Whether an output is there already, of the same source and parameters as far as its note tells.

    Raises `OutputError` where wsisr wrote it otherwise. Any other file is not finished, and for others to refuse.
    """
    from wsisr.cli.info import derived_note
    from wsisr.provenance import difference

    there = derived_note(output) if output.exists() else {}
    how = difference(there, note) if there else None
    if how:
        advice = "choose another name, or replace it with --overwrite"
        raise OutputError(f"{output}: exists already, made otherwise ({how}); {advice}")
    return bool(there)


def check_report(report: Path | None, results: Iterable[Path]) -> None:
    """Raises `OutputError` where a report would replace anything but a report, or one of the results to come."""
    if report is None:
        return
    with disk_errors(report):
        if report.resolve() in {result.resolve() for result in results}:
            raise OutputError(f"{report}: is to be a result of this run too; give the report another name")
        check_output(report, overwrite=True)
        try:
            is_report = not report.exists() or "wsisr" in json.loads(report.read_bytes())
        except (ValueError, TypeError):
            is_report = False
    if not is_report:
        raise OutputError(f"{report}: exists and is no report of wsisr; choose another name")


def write_report(report: Path | None, slides: Sequence[Facts]) -> None:
    """JSON, replaced whole; keys are stable."""
    if report is not None:
        write_whole(report, [json.dumps({"wsisr": __version__, "slides": slides}, indent=2).encode() + b"\n"])


def conclude(slides: Sequence[Facts], *, quiet: bool) -> None:
    """The table, and the exit code of what failed."""
    if not quiet:
        answers.print(table(slides))
    leave(slides)


def leave(slides: Sequence[Facts]) -> None:
    """With the exit code of what failed, or could not all be read; without, where all is well."""
    if failures(slides) or any("unreadable" in facts for facts in slides):
        raise typer.Exit(SOME_FAILED)


def failures(slides: Sequence[Facts]) -> int:
    return sum(facts["state"] == "failed" for facts in slides)


def table(slides: Sequence[Facts]) -> Table:
    """A row a slide."""
    from rich.table import Table
    from rich.text import Text

    from wsisr.cli.progress import duration

    shown = Table(title=Text(f"{counted(len(slides), 'slide')}, {failures(slides)} failed"), title_justify="left")
    for name in ("slide", "state", "time", "result"):
        shown.add_column(name, overflow="fold")
    for facts in slides:
        took = duration(facts["seconds"]) if "seconds" in facts else ""
        result = facts["error"] if "error" in facts else facts["output"]
        if "unreadable" in facts:
            result += f" (not all of the slide could be decoded: {facts['unreadable']})"
        row: tuple[str, ...] = (Path(facts["slide"]).name, facts["state"], took, result)
        shown.add_row(*(Text(value) for value in row))
    return shown
