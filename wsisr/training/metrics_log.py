"""`metrics.jsonl`: one line a validation, in the order of steps, each step once however often the run was cut off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wsisr.files import disk_errors, write_whole

Entry = dict[str, Any]


def rewind(path: Path, step: int) -> None:
    """Forgets what was noted after that step, and a line that was not finished. Raises `OutputError`."""
    if path.exists():
        kept = [entry for entry in read(path) if entry["step"] <= step]
        write_whole(path, [_line(entry) for entry in kept])


def note(path: Path, entry: Entry) -> None:
    """Adds an entry, which has a `step`. Raises `OutputError`."""
    with disk_errors(path), path.open("ab") as file:
        file.write(_line(entry))


def read(path: Path) -> list[Entry]:
    """All whole entries."""
    with disk_errors(path):
        lines = path.read_bytes().splitlines()
    return [entry for entry in map(_entry, lines) if entry is not None]


def _entry(line: bytes) -> Entry | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("step"), int) else None


def _line(entry: Entry) -> bytes:
    return json.dumps(entry).encode() + b"\n"
