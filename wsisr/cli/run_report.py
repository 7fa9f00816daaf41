"""Run report: what became of each slide of a run, and the run itself, as JSON for programs.

docs/operations.md documents the keys; `SCHEMA` counts their versions. Keys are added, never renamed.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from wsisr.cli.console import print_message
from wsisr.errors import OutputError
from wsisr.files import check_output, translate_disk_errors, write_atomically
from wsisr.version import __version__

SCHEMA = 2
"""Version of the keys. Reports of version 1 have no key `schema`."""

REPORTED_PACKAGES = ("torch", "numpy", "openslide-python", "openslide-bin", "tifffile", "imagecodecs", "zarr")

IDENTIFYING_KEYS = ("started", "host", "process", "shard")
"""Keys under `run` that tell one run from another."""

ReportRow = dict[str, Any]
"""A slide's entry in the report: `slide`, `output`, `state`, and figures or an error."""


@dataclass(slots=True)
class RunReport:
    """The report of one run. Without a path it is collected, and not written.

    It replaces the report that was there at its beginning, and no other file: two runs that are given one path would
    replace each other's entries, so the second is refused.
    """

    path: Path | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)
    """Options of the run by their names, as `--config` takes them."""
    slide_count: int = 1
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    _earlier: Mapping[str, Any] | None = None
    """What the report that was there, and may be replaced, says of its run."""

    def check_path(self, results: Iterable[Path]) -> None:
        """Raise `OutputError` if the report would replace one of the results to come, a file that is no report, or the
        report of another shard."""
        report = self.path
        if report is None:
            return
        with translate_disk_errors(report):
            if report.resolve() in {result.resolve() for result in results}:
                raise OutputError(f"{report}: is to be a result of this run too; give the report another name")
            check_output(report, overwrite=True)
            earlier = read_run_of_report(report)
        earlier_shard, shard = (dict(run or {}).get("shard") for run in (earlier, self.configuration))
        if shard and earlier_shard and shard != earlier_shard:
            advice = "give each shard a report of its own"
            raise OutputError(f"{report}: is the report of shard {earlier_shard}, and this is shard {shard}; {advice}")
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
            content = json.dumps(report, indent=2, allow_nan=False).encode() + b"\n"
            try:
                write_atomically(self.path, [content], overwrite=exists)
            except OutputError:
                self._refuse_other_writer(self.path)  # which came in between
                raise

    def try_write(self, rows: Sequence[ReportRow], exit_code: int | None = None) -> None:
        """Write the report while slides are left; print an error as a warning, for it must not stop them."""
        try:
            self.write(rows, exit_code)
        except OutputError as error:
            print_message(f"warning: {error}")

    def _refuse_other_writer(self, path: Path) -> bool:
        """Raise `OutputError` if the file is no report that this run may replace; return whether there is one."""
        with translate_disk_errors(path):
            current = read_run_of_report(path)
        if current is not None and current not in (self._identify_run(), self._earlier):
            writer = f"the run of {current.get('started', 'another time')} on {current.get('host', 'another machine')}"
            raise OutputError(f"{path}: {writer} writes it, too, and keeps it; give each run a report of its own")
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
            "command": sys.argv,
            "configuration": dict(self.configuration),
            "versions": describe_versions(),
            "totals": sum_rows(rows, self.slide_count),
        }


def read_run_of_report(path: Path) -> dict[str, Any] | None:
    """Return what a report says of its run, as far as that tells it from others; None if there is no such file.

    Raises `OutputError` for a file that is no report, `OSError` for disk errors.
    """
    try:
        report = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        report = None
    run = report.get("run", {}) if isinstance(report, dict) and {"wsisr", "slides"} <= report.keys() else None
    if not isinstance(run, dict):
        raise OutputError(f"{path}: exists and is no report of wsisr; choose another name")
    return {key: run.get(key) for key in IDENTIFYING_KEYS}


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
