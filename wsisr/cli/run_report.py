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

ReportRow = dict[str, Any]
"""A slide's entry in the report: `slide`, `output`, `state`, and figures or an error."""


@dataclass(slots=True)
class RunReport:
    """The report of one run. Without a path it is collected, and not written."""

    path: Path | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)
    """Options of the run by their names, as `--config` takes them."""
    slide_count: int = 1
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    def check_path(self, results: Iterable[Path]) -> None:
        """Raise `OutputError` if the report would replace one of the results to come, or a file that is no report."""
        report = self.path
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

    def write(self, rows: Sequence[ReportRow], exit_code: int | None = None) -> None:
        """Write or replace the report as a whole. Raises `OutputError`."""
        if self.path is not None:
            report = {
                "wsisr": __version__,
                "schema": SCHEMA,
                "run": self._describe_run(rows, exit_code),
                "slides": rows,
            }
            write_atomically(self.path, [json.dumps(report, indent=2, allow_nan=False).encode() + b"\n"])

    def try_write(self, rows: Sequence[ReportRow], exit_code: int | None = None) -> None:
        """Write the report while slides are left; print an error as a warning, for it must not stop them."""
        try:
            self.write(rows, exit_code)
        except OutputError as error:
            print_message(f"warning: {error}")

    def _describe_run(self, rows: Sequence[ReportRow], exit_code: int | None) -> dict[str, Any]:
        now = datetime.now(UTC)
        return {
            "started": self.started.isoformat(timespec="seconds"),
            "written": now.isoformat(timespec="seconds"),
            "seconds": round((now - self.started).total_seconds(), 1),
            "exit_code": exit_code,
            "host": socket.gethostname(),
            "folder": str(Path.cwd()),
            "command": sys.argv,
            "configuration": dict(self.configuration),
            "versions": describe_versions(),
            "totals": sum_rows(rows, self.slide_count),
        }


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
