"""A slide whose files must stay as they were when it was opened: what is read later is of the same scan.

An open file shows neither that it was deleted nor that another was given its name, and reading an overwritten one gives
pixels of both. So the state of all files is compared behind every read, and once more by whoever has read the last box.
A server is asked for bytes of the opened version only, and for its state every `CHECK_EVERY_S` seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import TypeVar

from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.remote.path import is_url
from wsisr.slides.files import FileState, list_slide_files, read_file_state, read_file_states
from wsisr.slides.slide import Slide, SlideWrapper

MOST_FILES_PER_READ = 64
"""Files that are looked at behind every read, for about 0.2 ms. Of slides in more files, as an OME-Zarr without shards,
all are looked at every `CHECK_EVERY_S` seconds only."""

CHECK_EVERY_S = 10.0

_T = TypeVar("_T")

Originals = Mapping[Path, tuple[Path, FileState | None]]
"""Files of a copy, each with the file that it was copied from and that file's state before."""

_originals: ContextVar[Originals] = ContextVar("originals", default=MappingProxyType({}))


@contextmanager
def watch_originals(originals: Originals) -> Iterator[None]:
    """Context: a slide that is opened from a copy inside raises `SlideError`, too, if what was copied has changed."""
    token = _originals.set(originals)
    try:
        yield
    finally:
        _originals.reset(token)


def read_original_states(files: Iterable[Path]) -> Iterator[tuple[Path, FileState | None]]:
    """Yield each file with its state; for a file of a watched copy, what it was copied from, and its state before."""
    originals = _originals.get()
    return (originals.get(file) or (file, read_file_state(file)) for file in files)


class UnchangedSlide(SlideWrapper):
    """A slide that raises `SlideError` once one of its files is no longer what it was when the slide was opened."""

    def __init__(self, slide: Slide, state_before: FileState | None = None) -> None:
        """`state_before` is that of the file at the slide's path before its header was read; None for a folder."""
        super().__init__(slide)
        self._state_before = state_before
        self._copied_from = _originals.get()
        self._states: dict[Path, FileState | None] = {}
        self._last_check = 0.0
        self._lock = Lock()

    def read(self, box: Box, level: int) -> Rgb:
        return self._read_checked(lambda: self._slide.read(box, level))

    def get_jpeg_tile_size(self, level: int) -> Size | None:
        return self._slide.get_jpeg_tile_size(level)

    def read_jpeg_tile(self, level: int, column: int, row: int) -> bytes | None:
        return self._read_checked(lambda: self._slide.read_jpeg_tile(level, column, row))

    def _read_checked(self, read: Callable[[], _T]) -> _T:
        self._note_states()
        try:
            result = read()
        except SlideError:
            self.check_unchanged()  # which explains why it cannot be read
            raise
        if time.monotonic() - self._last_check >= CHECK_EVERY_S:
            self.check_unchanged()
        elif self.is_checked_per_read:
            self._compare_states(self._states)
        return result

    @property
    def is_checked_per_read(self) -> bool:
        self._note_states()
        return len(self._states) <= MOST_FILES_PER_READ and not is_url(self.info.path)

    def check_unchanged(self) -> None:
        self._note_states()
        self._last_check = time.monotonic()
        self._compare_states(self._states)
        self._compare_states(dict(self._copied_from[path] for path in self._states if path in self._copied_from))

    def _compare_states(self, states: Mapping[Path, FileState | None]) -> None:
        changed = next((path for path, state in read_file_states(states) if state != states[path]), None)
        if changed is not None:
            action = "has changed" if changed.exists() else "has been removed"
            original, _ = self._copied_from.get(self.info.path, (None, None))
            where = "" if changed in (self.info.path, original) else f" ({changed.name})"
            raise SlideError(
                f"{self.info.path}: {action} since it was opened{where}; repeat the command when it is complete"
            )

    def _note_states(self) -> None:
        """Note the states of all files at the first read: to list them takes long in some formats, and `info` reads
        nothing."""
        with self._lock:
            if not self._states:
                self._states = dict(read_file_states(list_slide_files(self.info, folders=True)))
                if self._state_before is not None:
                    self._states[self.info.path] = self._state_before
