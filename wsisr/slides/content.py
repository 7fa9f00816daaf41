"""What a slide consists of: its files, and one SHA-256 over all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
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
    path = info.path
    try:
        found = [path] if path.is_file() else []
        if path.is_dir():
            found += path.rglob("*")
        elif path.suffix.lower() == ".mrxs":
            found += path.with_suffix("").rglob("*")
        elif info.vendor == "dicom":
            found += _naming(info.properties.get("dicom.SeriesInstanceUID"), path)
        elif path.suffix.lower() in (".vms", ".vmu"):
            index = _head(path)
            found += (file for file in path.parent.iterdir() if file.name.encode() in index)
        return tuple(sorted({file for file in found if file.is_file()}, key=lambda file: file.as_posix()))
    except OSError as error:
        raise _unreadable(path, error) from error


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
    file cannot be read.
    """
    files = slide_files(info)
    if len(files) == 1 and not info.path.is_dir():
        return _of_file(files[0], stop)
    root = info.path if info.path.is_dir() else info.path.parent
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


def _naming(series: str | None, path: Path) -> Iterator[Path]:
    """The files beside one that name a DICOM series."""
    files = (file for file in path.parent.iterdir() if file.is_file())
    return (file for file in files if series and series.encode() in _head(file))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _unreadable(path: Path, error: OSError) -> SlideError:
    return SlideError(f"{path}: cannot be read for its digest ({error.strerror}); copy the slide again")
