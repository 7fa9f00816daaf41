"""Metrics log `metrics.jsonl`: one line a validation, in the order of steps, each step once even in resumed runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wsisr.files import translate_disk_errors, write_atomically

MetricsEntry = dict[str, Any]
"""`step`, `loss` of that step (none before the first), `gain_db`, and perhaps `texture`, `accuracy`."""


def rewind_metrics(path: Path, step: int) -> None:
    """Remove entries after `step` and incomplete lines, so that a resumed run can log them again.

    Raises `OutputError`.
    """
    if path.exists():
        remaining = [entry for entry in read_metrics(path) if entry["step"] <= step]
        write_atomically(path, [_format_entry(entry) for entry in remaining])


def append_metrics(path: Path, entry: MetricsEntry) -> None:
    """Append an entry, which must have a `step`. Raises `OutputError`."""
    with translate_disk_errors(path), path.open("ab") as file:
        file.write(_format_entry(entry))


def read_metrics(path: Path) -> list[MetricsEntry]:
    """Return all complete entries. Raises `OutputError`."""
    with translate_disk_errors(path):
        lines = path.read_bytes().splitlines()
    return [entry for entry in map(_parse_entry, lines) if entry is not None]


def _parse_entry(line: bytes) -> MetricsEntry | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("step"), int) else None


def _format_entry(entry: MetricsEntry) -> bytes:
    return json.dumps(entry).encode() + b"\n"
