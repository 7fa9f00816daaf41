"""Run report: what became of each slide of a run, and the run itself, as JSON for programs or as a page for people.

docs/operations.md documents the keys; `SCHEMA` counts their versions. Keys are added, never renamed.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsisr.cli.console import print_message
from wsisr.cli.report_format import HTML_SUFFIXES, encode_report, read_report
from wsisr.cli.run_process import is_at_work
from wsisr.cli.usage import find_error_code
from wsisr.errors import OutputError
from wsisr.files import check_output, check_suffix, translate_disk_errors, write_atomically
from wsisr.remote.path import hide_secrets
from wsisr.version import __version__

if TYPE_CHECKING:
    from wsisr.cli.run_page import RunPage

SCHEMA = 2
"""Version of the keys. Reports of version 1 have no key `schema`."""

REPORTED_PACKAGES = ("torch", "numpy", "openslide-python", "openslide-bin", "tifffile", "imagecodecs", "zarr")


class ReportTakenError(OutputError):
    """Another run or program has written the file under the report's name."""


IDENTIFYING_KEYS = ("started", "host", "process", "shard")
"""Keys under `run` that tell one run from another."""

ReportRow = dict[str, Any]
"""A slide's entry in the report: `slide`, `output`, `state`, and figures or an error."""


@dataclass(slots=True)
class RunReport:
    """The report of one run. Without a path it is collected, and not written.

    It replaces the report that was there at its beginning, and no other file: two runs that are given one path would
    replace each other's entries, so the second is refused. A run whose report is taken nevertheless goes on with a
    report beside it.
    """

    path: Path | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)
    """Options of the run by their names, as `--config` takes them."""
    slide_count: int = 1
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    page: RunPage | None = None
    """Draws the report as a page; None for JSON, and for a page without pictures."""
    _earlier: Mapping[str, Any] | None = None
    """What the report that was there, and may be replaced, says of its run."""

    def check_path(self, results: Iterable[Path]) -> None:
        """Raise `OutputError` if the report would replace one of the results to come, a file that is no report, or the
        report of another shard or of a run at work, or if its name stands for another format."""
        report = self.path
        if report is None:
            return
        with translate_disk_errors(report):
            if report.resolve() in {result.resolve() for result in results}:
                raise OutputError(f"{report}: is to be a result of this run too; give the report another name")
            check_suffix(report, (".json", *HTML_SUFFIXES))
            check_output(report, overwrite=True)
            earlier = read_run_of_report(report)
        earlier_shard, shard = (dict(run or {}).get("shard") for run in (earlier, self.configuration))
        if shard and earlier_shard and shard != earlier_shard:
            advice = "give each shard a report of its own"
            raise OutputError(f"{report}: is the report of shard {earlier_shard}, and this is shard {shard}; {advice}")
        if earlier is not None:
            _refuse_run_at_work(report, earlier)
        self._earlier = earlier

    def write(self, rows: Sequence[ReportRow], exit_code: int | None = None) -> None:
        """Write or replace the report as a whole.

        Raises `OutputError`, also if another program or run has written its file since this run began.
        """
        if self.path is not None:
            exists = self._refuse_other_writer(self.path)
            report = {
                "wsisr": __version__,
                "schema": SCHEMA,
                "run": self._describe_run(rows, exit_code),
                "slides": rows,
            }
            content = encode_report(self.path, report, self.page)
            try:
                write_atomically(self.path, [content], overwrite=exists)
            except OutputError:
                self._refuse_other_writer(self.path)  # which came in between
                raise

    def try_write(self, rows: Sequence[ReportRow], exit_code: int | None = None) -> None:
        """Write the report while slides are left; print an error as a warning, for it must not stop them."""
        try:
            self.write_somewhere(rows, exit_code)
        except OutputError as error:
            print_message(f"warning: {error}")

    def write_somewhere(self, rows: Sequence[ReportRow], exit_code: int | None = None) -> None:
        """Write the report, beside its file and with a warning where another run has taken that meanwhile.

        Raises `OutputError` where nothing can be written.
        """
        while self.path is not None:
            try:
                self.write(rows, exit_code)
                return
            except ReportTakenError as error:
                taken, self.path = self.path, find_free_name(self.path)
                self._earlier = None
                print_message(f"warning: {taken}: is no longer this run's ({error}); its report is now {self.path}")

    def announce(self, *, quiet: bool) -> None:
        """Say where the report of a run that has ended is."""
        if self.path is not None:
            print_message(f"{self.path}: written, the report of the run", quiet=quiet)

    @contextmanager
    def write_at_error(self, list_rows: Callable[[], Sequence[ReportRow]]) -> Iterator[None]:
        """Context: an error inside that ends the run is in the report, as the exit code that it leads to."""
        try:
            yield
        except BaseException as error:
            self.try_write(list_rows(), find_error_code(error))
            raise

    def _refuse_other_writer(self, path: Path) -> bool:
        """Raise `OutputError` if the file is no report that this run may replace; return whether there is one."""
        with translate_disk_errors(path):
            current = read_run_of_report(path)
        if current is not None and current not in (self._identify_run(), self._earlier):
            advice = "give each run a report of its own"
            raise ReportTakenError(f"{path}: {_describe_writer(current)} writes it, too, and keeps it; {advice}")
        return current is not None

    def _identify_run(self) -> dict[str, Any]:
        return {
            "started": self.started.isoformat(),
            "host": socket.gethostname(),
            "process": os.getpid(),
            "shard": self.configuration.get("shard"),
        }

    def _describe_run(self, rows: Sequence[ReportRow], exit_code: int | None) -> dict[str, Any]:
        now = datetime.now(UTC)
        return {
            **self._identify_run(),
            "written": now.isoformat(),
            "seconds": round((now - self.started).total_seconds(), 1),
            "exit_code": exit_code,
            "folder": str(Path.cwd()),
            "command": [hide_secrets(word) for word in sys.argv],
            "configuration": dict(self.configuration),
            "versions": describe_versions(),
            "totals": sum_rows(rows, self.slide_count),
        }


def read_run_of_report(path: Path) -> dict[str, Any] | None:
    """Return what a report says of its run, as far as that tells it from others; None if there is no such file.

    Raises `OutputError` for a file that is no report, `OSError` for disk errors.
    """
    try:
        report = read_report(path)
    except FileNotFoundError:
        return None
    run = None if report is None else report.get("run", {})
    if not isinstance(run, dict):
        raise ReportTakenError(f"{path}: exists and is no report of wsisr; choose another name")
    return {key: run.get(key) for key in IDENTIFYING_KEYS}


def _refuse_run_at_work(path: Path, earlier: Mapping[str, Any]) -> None:
    """Raise `OutputError` if the run of a report is still at work, or may be."""
    with translate_disk_errors(path):
        try:
            run, written = (read_report(path) or {}).get("run", {}), path.stat().st_mtime
        except FileNotFoundError:
            return
    if run.get("exit_code") is None and is_at_work(run.get("host"), run.get("process"), written):
        advice = "give this run another report; if that run has been killed, remove the file first"
        writer = f"{_describe_writer(earlier)} (process {run.get('process')})"
        raise OutputError(f"{path}: is the report of a run at work, {writer}; {advice}")


def _describe_writer(run: Mapping[str, Any]) -> str:
    return f"the run of {run.get('started') or 'another time'} on {run.get('host') or 'another machine'}"


def find_free_name(path: Path) -> Path:
    """Return the first of `run.1.json`, `run.2.json` and so on that does not exist, for `run.json`."""
    names = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in count(1))
    return next(name for name in names if not name.exists())


def describe_versions() -> dict[str, str | None]:
    """Return the versions of wsisr, Python, the system and the libraries; None for one that is not installed."""
    versions: dict[str, str | None] = {
        "wsisr": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    for name in REPORTED_PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions


def sum_rows(rows: Sequence[ReportRow], slide_count: int) -> dict[str, Any]:
    """Return the totals of a report: slides by state, and what was made in this run."""
    states = Counter(row["state"] for row in rows)
    made = [row for row in rows if row["state"] == "done"]
    return {
        "slides": slide_count,
        "states": dict(sorted(states.items())),
        "seconds": round(sum(row["seconds"] for row in made if "seconds" in row), 1),
        "pixels": sum(row["width"] * row["height"] for row in made if "width" in row),
        "bytes": sum(row["bytes"] for row in made if "bytes" in row),
    }


def measure_bytes(paths: Iterable[Path]) -> int:
    """Return the size of files and of folders with all their files; what cannot be looked at counts as nothing."""
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size if path.is_file() else _measure_folder(path)
        except OSError:
            continue
    return total


def _measure_folder(folder: Path) -> int:
    return sum(
        os.stat(os.path.join(place, name)).st_size  # noqa: PTH116, PTH118 - a zarr may hold a million files
        for place, _, names in os.walk(folder)
        for name in names
    )
