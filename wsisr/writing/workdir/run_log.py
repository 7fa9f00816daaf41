"""What a run found out besides pixels: records appended to a file, for the run that goes on after it was stopped.

A record is written before the tiles that it tells of. The first that is not whole, and all that follows, counts as
never written.
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

from wsisr.files import disk_errors
from wsisr.writing.workdir.tile_journal import SYNC_EVERY_S

_HEAD = struct.Struct("<8sqII")
"""Kind, number, size of the content, CRC-32 of all else."""


class Entry(NamedTuple):
    """One record and where its content lies."""

    kind: str
    """Up to 8 letters."""
    number: int
    offset: int
    size: int


class Diary:
    """Records of one run. Safe from several threads; memory: 100 bytes for each record that was found."""

    def __init__(self, path: Path, output: Path) -> None:
        """Methods raise `OutputError` about that output where the disk refuses."""
        self._output = output
        self._lock = Lock()
        self._synced = time.monotonic()
        with disk_errors(output):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self.found = tuple(self._whole())
            """The records of earlier runs."""
        self._end = self.found[-1].offset + self.found[-1].size if self.found else 0

    def add(self, kind: str, content: bytes, number: int = 0) -> None:
        name = kind.encode()
        whole = _HEAD.pack(name, number, len(content), _check(name, number, content)) + content
        with self._lock, disk_errors(self._output):
            at = self._end
            while at < self._end + len(whole):
                at += os.pwrite(self._file, whole[at - self._end :], at)
            self._end = at  # what a full disk took of a record is written over by the next
            self._sync_if_due()

    def content(self, entry: Entry) -> bytes:
        with disk_errors(self._output):
            return os.pread(self._file, entry.size, entry.offset)

    def close(self) -> None:
        file, self._file = self._file, -1
        os.close(file)

    def _sync_if_due(self) -> None:
        if time.monotonic() - self._synced >= SYNC_EVERY_S:
            os.fsync(self._file)
            self._synced = time.monotonic()

    def _whole(self) -> Iterator[Entry]:
        at, size = 0, os.fstat(self._file).st_size
        while at + _HEAD.size <= size:
            name, number, length, check = _HEAD.unpack(os.pread(self._file, _HEAD.size, at))
            content = os.pread(self._file, length, at + _HEAD.size) if length <= size else b""
            name = name.rstrip(b"\0")
            if len(content) < length or check != _check(name, number, content):
                return
            yield Entry(name.decode(), number, at + _HEAD.size, length)
            at += _HEAD.size + length


def _check(name: bytes, number: int, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(_HEAD.pack(name, number, len(content), 0)))


class Said:
    """Texts of one kind, each once, those of earlier runs first."""

    def __init__(self, diary: Diary, kind: str) -> None:
        self._diary, self._kind = diary, kind
        self.texts = [diary.content(entry).decode() for entry in diary.found if entry.kind == kind]

    def hear(self, texts: Iterable[str]) -> None:
        for text in texts:
            if text not in self.texts:
                self._diary.add(self._kind, text.encode())
                self.texts.append(text)
