"""The log of a run: warnings, quality measurements and the like, for the run that resumes after it was stopped.

Entries are appended to a file, each before the tiles that it describes. The first incomplete entry and everything after
it count as never written.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from wsisr.files import translate_disk_errors
from wsisr.writing.workdir.tile_journal import SYNC_EVERY_S

_HEADER = struct.Struct("<8sqII")
"""Kind, number, size of the content, CRC-32 of header and content."""


class LogEntry(NamedTuple):
    """One entry and the position of its content in the file."""

    kind: str
    """Up to 8 letters."""
    number: int
    offset: int
    size: int


class RunLog:
    """Log entries of one run. Safe from several threads. Memory: 100 bytes for each entry of earlier runs."""

    def __init__(self, path: Path, output: Path) -> None:
        """Open or create the log. All methods raise `OutputError` about `output` for disk errors."""
        self._output = output
        self._lock = Lock()
        self._synced = time.monotonic()
        with translate_disk_errors(output):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self.earlier_entries = tuple(self._read_whole_entries())
            """The entries of the earlier runs that this one resumes."""
        self._end = self.earlier_entries[-1].offset + self.earlier_entries[-1].size if self.earlier_entries else 0

    def append(self, kind: str, content: bytes, number: int = 0) -> None:
        name = kind.encode()
        record = _HEADER.pack(name, number, len(content), _compute_crc(name, number, content)) + content
        with self._lock, translate_disk_errors(self._output):
            position = self._end
            while position < self._end + len(record):
                position += os.pwrite(self._file, record[position - self._end :], position)
            self._end = position  # a record that a full disk cut off is overwritten by the next
            self._sync_if_due()

    def read_content(self, entry: LogEntry) -> bytes:
        with translate_disk_errors(self._output):
            return os.pread(self._file, entry.size, entry.offset)

    def close(self) -> None:
        file, self._file = self._file, -1
        os.close(file)

    def _sync_if_due(self) -> None:
        if time.monotonic() - self._synced >= SYNC_EVERY_S:
            os.fsync(self._file)
            self._synced = time.monotonic()

    def _read_whole_entries(self) -> Iterator[LogEntry]:
        start, file_size = 0, os.fstat(self._file).st_size
        while start + _HEADER.size <= file_size:
            name, number, length, crc = _HEADER.unpack(os.pread(self._file, _HEADER.size, start))
            content = os.pread(self._file, length, start + _HEADER.size) if length <= file_size else b""
            name = name.rstrip(b"\0")
            if len(content) < length or crc != _compute_crc(name, number, content):
                return
            yield LogEntry(name.decode(), number, start + _HEADER.size, length)
            start += _HEADER.size + length


def _compute_crc(name: bytes, number: int, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(_HEADER.pack(name, number, len(content), 0)))


class MessageLog:
    """Messages of one kind, each kept once; those of earlier runs come first."""

    def __init__(self, run_log: RunLog, kind: str) -> None:
        self._run_log, self._kind = run_log, kind
        self.messages = [
            run_log.read_content(entry).decode() for entry in run_log.earlier_entries if entry.kind == kind
        ]

    def collect(self, messages: Iterable[str]) -> None:
        """Keep and log the messages that are new."""
        for message in messages:
            if message not in self.messages:
                self._run_log.append(self._kind, message.encode())
                self.messages.append(message)
