"""Log file: every message of a run with its time, whatever the terminal shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from wsisr.cli import console
from wsisr.errors import OutputError
from wsisr.files import translate_disk_errors

_LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 ")
"""Beginning of every line of a log."""


@contextmanager
def open_log(path: Path | None) -> Iterator[None]:
    """Context: messages and the table of the batch are appended to the file, too; None changes nothing.

    Raises `OutputError` for a file that cannot be written, or that is no log of wsisr.
    """
    if path is None:
        yield
        return
    with translate_disk_errors(path):
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as before:
                if not _LINE.match(before.read(26)):
                    raise OutputError(f"{path}: exists and is no log of wsisr; choose another name")
        file = path.open("a", encoding="utf-8", errors="backslashreplace")

    lost: list[str] = []

    def write_lines(text: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            file.writelines(f"{now} {line}\n" for line in text.splitlines())
            file.flush()
        except OSError as error:  # a full disk costs lines of the log, but no slide
            if not lost:
                lost.append(text)
                console.print_message(f"warning: {path}: cannot be written ({error.strerror}); the log lacks lines")

    console.log_writers.append(write_lines)
    try:
        yield
    finally:
        console.log_writers.remove(write_lines)
        with suppress(OSError):
            file.close()
