"""What a slide consists of: its files, and one SHA-256 over all of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from wsisr.errors import SlideError
from wsisr.slides.slide import SlideInfo

_PIECE = 2**20
_HEAD = 2**20
"""Bytes within which a DICOM file names its series, and a Hamamatsu index ends."""


def slide_files(info: SlideInfo) -> tuple[Path, ...]:
    """The files that its pixels and facts come from, in order of their paths; none where it is not stored in files.

    OME-Zarr: all of its folder. MIRAX: the folder of its name, too. DICOM: the files beside it of the same series.
    Hamamatsu VMS and VMU: the files beside it that its index names. Raises `SlideError` where they cannot be listed.
    """
    series = info.properties.get("dicom.SeriesInstanceUID") if info.vendor == "dicom" else None
    return files_at(info.path, series)


def files_at(path: Path, series: str | None = None) -> tuple[Path, ...]:
    """The same, as far as its path, and the DICOM series that it is of, tell them."""
    try:
        found = [path] if path.is_file() else []
        if path.is_dir():
            found += path.rglob("*")
        elif path.suffix.lower() == ".mrxs":
            found += path.with_suffix("").rglob("*")
        elif series:
            found += _naming(series, path)
        elif found and path.suffix.lower() in (".vms", ".vmu"):
            index = _head(path)
            found += (file for file in path.parent.iterdir() if file.name.encode() in index)
        return tuple(sorted({file for file in found if file.is_file()}, key=lambda file: file.as_posix()))
    except OSError as error:
        raise _unreadable(path, error) from error


def age(files: Iterable[Path]) -> str:
    """Places, sizes and times of change of files, as 16 hexadecimal digits: they stand for what the files hold, all of
    which would have to be read. Raises `SlideError` where one is gone."""
    words = ((file, _stat(file)) for file in files)
    lines = (f"{file.resolve()}, {found.st_size} bytes, changed {found.st_mtime_ns}\n" for file, found in words)
    return _of(line.encode("utf-8", "surrogateescape") for line in lines)[:16]


@contextmanager
def digesting(info: SlideInfo) -> Iterator[Future[str | None]]:
    """The digest of a slide in the making, by a thread of its own; leaving ends it early."""
    stop = Event()
    with ThreadPoolExecutor(1, "wsisr-digest") as pool:
        try:
            yield pool.submit(digest, info, stop)
        finally:
            stop.set()


def digest(info: SlideInfo, stop: Event) -> str | None:
    """SHA-256, hexadecimal, of a slide's file; of several, that of the lines that `sha256sum` prints of them.

    That is `find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum` in the folder that
    holds them. None for no files. Memory: 1 MiB. A digest that was stopped is of no use. Raises `SlideError` where a
    file cannot be read, or one has changed meanwhile.
    """
    files = slide_files(info)
    before = age(files)
    found = _of_files(files, info.path, stop)
    if age(files) != before:
        raise SlideError(f"{info.path}: has changed while it was read; repeat the command when it is complete")
    return found


def _of_files(files: Sequence[Path], path: Path, stop: Event) -> str | None:
    if len(files) == 1 and not path.is_dir():
        return _of_file(files[0], stop)
    root = path if path.is_dir() else path.parent
    lines = (f"{_of_file(file, stop)}  {file.relative_to(root).as_posix()}\n" for file in files)
    return _of(line.encode("utf-8", "surrogateescape") for line in lines) if files else None


def _of(pieces: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()


def _of_file(path: Path, stop: Event) -> str:
    try:
        with path.open("rb", buffering=0) as file:
            return _of(iter(lambda: b"" if stop.is_set() else file.read(_PIECE), b""))
    except OSError as error:
        raise _unreadable(path, error) from error


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error


def _naming(series: str, path: Path) -> Iterator[Path]:
    """The files beside one that name a DICOM series."""
    files = (file for file in path.parent.iterdir() if file.is_file())
    return (file for file in files if series.encode() in _head(file))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _unreadable(path: Path, error: OSError) -> SlideError:
    return SlideError(f"{path}: cannot be read ({error.strerror}); copy the slide again")
