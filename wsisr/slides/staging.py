"""Staging: the next slides of a run are copied from slow storage to a fast folder while one is in work.

A copy is compared with its slide by size and SHA-256 before it is used, and removed after it was.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from wsisr.errors import OutputNameError, SlideError
from wsisr.slides.files import list_candidate_files, read_file_state
from wsisr.slides.listing import STAGE_PREFIX
from wsisr.slides.stage_lock import StageLock, remove_stale_copies
from wsisr.slides.wrappers.unchanged import Originals, watch_originals

_PIECE_BYTES = 2**22


class SlideStage:
    """Copies slides in the given order, ahead of their use, as far as a number of bytes allows.

    Memory: a piece of 4 MiB. A thread copies; `close` stops it and removes all copies.
    """

    def __init__(self, folder: Path, limit_bytes: int, slides: Sequence[Path]) -> None:
        """Begin to copy the first slides; what killed runs left is removed before.

        Raises `OutputError` if it is no folder.
        """
        if not folder.is_dir():
            advice = "give a folder" if os.path.lexists(folder) else "create it first"
            raise OutputNameError(f"{folder}: is no folder for copies of slides; {advice}")
        remove_stale_copies(folder)
        self._lock = StageLock(folder)
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._used_bytes = 0
        self._reserved_bytes: dict[Path, int] = {}
        self._room = threading.Condition()
        self._stopped = False
        self._originals: dict[Path, Originals] = {}
        """Of each slide that is copied: its files, and their states before."""
        self._pool = ThreadPoolExecutor(1, "wsisr-stage")
        self._copies: dict[Path, Future[Path]] = {slide: self._pool.submit(self._copy, slide) for slide in slides}

    @contextmanager
    def hold(self, slide: Path) -> Iterator[Path]:
        """Context: the path of a slide's verified copy, which is removed afterwards.

        Slides must be taken in the order in which they were given. A copy that is opened inside raises `SlideError`
        once the slide itself is no longer what was copied. Raises `SlideError` if the slide cannot be copied.
        """
        try:
            copy = self._copies[slide].result()
            with watch_originals(self._originals[slide]):
                yield copy
        finally:
            self._remove(slide)

    def close(self) -> None:
        """Stop copying, and remove all copies."""
        with self._room:
            self._stopped = True
            self._room.notify_all()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for slide in self._copies:
            self._remove_copy(slide)
        self._lock.release()

    def _remove_copy(self, slide: Path) -> None:
        """Remove a copy, unless it is another run's."""
        target = self._folder_of(slide)
        if not self._lock.is_held_by_other(target):
            with suppress(OSError):
                shutil.rmtree(target)

    def _remove(self, slide: Path) -> None:
        self._remove_copy(slide)
        with self._room:
            self._used_bytes -= self._reserved_bytes.pop(slide, 0)
            self._room.notify_all()

    def _folder_of(self, slide: Path) -> Path:
        """Return the folder of a slide's copy: the same in each run, so that what a killed run left is replaced."""
        name = hashlib.sha256(os.fsencode(slide.absolute())).hexdigest()[:16]
        return self._folder / f"{STAGE_PREFIX}{name}"

    def _copy(self, slide: Path) -> Path:
        size = measure_slide(slide)
        if size > self._limit_bytes:
            raise SlideError(f"{slide}: is larger than --stage-limit")
        with self._room:
            self._room.wait_for(lambda: self._stopped or self._used_bytes + size <= self._limit_bytes)
            self._used_bytes += size
            self._reserved_bytes[slide] = size
        target = self._folder_of(slide)
        try:
            if self._lock.is_held_by_other(target):
                raise SlideError(f"{slide}: another run is at work with its copy in {target}")
            if target.exists():
                shutil.rmtree(target)
            target.mkdir()
            self._lock.mark(target)
            files = {target / os.path.relpath(file, slide.parent): file for file in list_candidate_files(slide)}
            inside = {folder for path in files for folder in path.parents if folder.is_relative_to(target / slide.name)}
            sources = files | {folder: slide.parent / folder.relative_to(target) for folder in inside}
            self._originals[slide] = {copy: (source, read_file_state(source)) for copy, source in sources.items()}
            for copy, source in files.items():
                self._copy_file(source, copy)
        except OSError as error:
            raise SlideError(f"{slide}: cannot be copied to {target} ({error.strerror})") from error
        return target / slide.name

    def _copy_file(self, source: Path, target: Path) -> None:
        """Copy a file with its times, and compare what was read with what is read back."""
        target.parent.mkdir(parents=True, exist_ok=True)
        digest, before = hashlib.sha256(), source.stat()
        with source.open("rb", buffering=0) as reading, target.open("xb", buffering=0) as writing:
            for piece in self._read_pieces(reading):
                digest.update(piece)
                writing.write(piece)
        after = source.stat()
        with target.open("rb", buffering=0) as reading:
            copied = hashlib.file_digest(reading, "sha256")
        is_same = copied.digest() == digest.digest() and target.stat().st_size == before.st_size
        if not is_same or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise SlideError(f"{source}: its copy differs, or it has changed meanwhile; repeat the command")
        os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))

    def _read_pieces(self, file: FileIO) -> Iterator[bytes]:
        while piece := file.read(_PIECE_BYTES):
            if self._stopped:
                raise CancelledError
            yield piece


def measure_slide(slide: Path) -> int:
    """Return the bytes of all files that a slide may consist of. Raises `SlideError`."""
    try:
        files = list_candidate_files(slide)
        if not files:
            raise SlideError(f"{slide}: has no files to copy")
        return sum(file.stat().st_size for file in files)
    except OSError as error:
        raise SlideError(f"{slide}: cannot be copied ({error.strerror})") from error
