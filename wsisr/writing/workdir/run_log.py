"""The log of a run: warnings, unreadable regions, quality measurements, for the run that resumes after it was stopped.

Each entry is appended before the tiles that it describes, and their records in the tile journal name the log's position
then. Tiles whose entries are damaged or lost are therefore done again: no finding vanishes while its tiles stay.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from wsisr.files import translate_disk_errors
from wsisr.writing.workdir.append_log import AppendLog, LogPosition

_FIELDS = struct.Struct("<8sqI")
"""Kind, number, size of the content."""


class LogEntry(NamedTuple):
    """One entry and the position of its content in the file."""

    kind: str
    """Up to 8 letters."""
    number: int
    offset: int
    size: int


class RunLog:
    """Log entries of one run. Safe from several threads. Memory: 300 bytes for each entry of earlier runs."""

    def __init__(self, path: Path, output: Path) -> None:
        """Open or create the log. All methods raise `OutputError` about `output` for disk errors."""
        self._output = output
        with translate_disk_errors(output):
            self._log = AppendLog(path, _FIELDS, has_content=True)
            self._earlier_positions = {self._log.position}
            self.earlier_entries = tuple(self._recover_entries())
            """The entries of the earlier runs that this one resumes."""

    @property
    def position(self) -> LogPosition:
        """Position after the last entry, for the record of a tile that is stored now."""
        return self._log.position

    def includes(self, position: LogPosition) -> bool:
        """Return whether all entries before a position of an earlier run are still there, unchanged."""
        return position in self._earlier_positions

    def append(self, kind: str, content: bytes, number: int = 0) -> LogEntry:
        """Append an entry; it is returned with its place, so that this run can read it, too."""
        with translate_disk_errors(self._output):
            appended = self._log.append([((kind.encode(), number, len(content)), content)])
            if appended.is_sync_due:
                self._log.sync()
            return LogEntry(kind, number, appended.content_offsets[0], len(content))

    def read_content(self, entry: LogEntry) -> bytes:
        with translate_disk_errors(self._output):
            return self._log.read(entry.offset, entry.size)

    def sync(self) -> None:
        with translate_disk_errors(self._output):
            self._log.sync()

    def close(self) -> None:
        self._log.close()

    def _recover_entries(self) -> Iterator[LogEntry]:
        for (kind, number, size), offset in self._log.recover():
            self._earlier_positions.add(self._log.position)
            yield LogEntry(kind.rstrip(b"\0").decode(), number, offset, size)


class MessageLog:
    """Messages of one kind, each kept once; those of earlier runs come first.

    Who collects them out of order gives the numbers of the tiles that they are about: the first of these counts.
    """

    def __init__(self, run_log: RunLog, kind: str) -> None:
        self._run_log, self._kind = run_log, kind
        self._numbers: dict[str, int] = {}
        for entry in run_log.earlier_entries:
            if entry.kind == kind:
                self._note(run_log.read_content(entry).decode(), entry.number)

    @property
    def messages(self) -> list[str]:
        """The messages by the numbers of their tiles; those of one number in the order of arrival."""
        return sorted(self._numbers, key=self._numbers.__getitem__)

    def collect(self, messages: Iterable[str], number: int = 0) -> None:
        """Keep and log the messages that are new, or known from a later tile only."""
        for message in messages:
            if self._note(message, number):
                self._run_log.append(self._kind, message.encode(), number)

    def _note(self, message: str, number: int) -> bool:
        is_news = number < self._numbers.get(message, number + 1)
        if is_news:
            self._numbers[message] = number
        return is_news
