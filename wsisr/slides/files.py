"""The files that a slide consists of, and one SHA-256 over all of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import NamedTuple

from wsisr.errors import SlideError
from wsisr.files import find_scan_folder, has_dicom_suffix, is_dicom
from wsisr.parallel.threads import translate_shortage
from wsisr.remote.path import ZARR_METADATA_NAMES, is_url
from wsisr.slides.slide import SlideInfo

_PIECE_BYTES = 2**20
_HEAD_BYTES = 2**20
"""Bytes from the start within which a DICOM file names its series, and a Hamamatsu index ends."""


class FileState(NamedTuple):
    """What the file system tells of a file. Any way to change or replace it changes one of these."""

    size: int
    mtime_ns: int
    ctime_ns: int
    """Time of the last change of content, name or permissions, which no program can set."""


def list_slide_files(info: SlideInfo, *, folders: bool = False) -> tuple[Path, ...]:
    """List the files that a slide's pixels and facts come from, sorted by path; none where it is not stored in files.

    OME-Zarr: all files of its folder, and with `folders` that and those in it; by URL, its metadata alone. MIRAX and
    Olympus VSI: also the folder that holds the scan.
    DICOM: the files beside it of the same series. Hamamatsu VMS and VMU: the files beside it that its index names.
    Raises `SlideError` where the files cannot be listed.
    """
    series = info.properties.get("dicom.SeriesInstanceUID") if info.vendor == "dicom" else None
    files = list_files_at(info.path, series)
    inside = {folder for file in files for folder in file.parents if folder.is_relative_to(info.path)}
    return (*files, *sorted(inside)) if folders else files


def list_files_at(path: Path, series: str | None = None) -> tuple[Path, ...]:
    """List a slide's files from its path alone, and from its series instance UID in DICOM, without opening it."""
    try:
        if is_url(path) and path.is_dir():
            return tuple(file for name in ZARR_METADATA_NAMES if (file := path / name).is_file())
        candidates = [path] if path.is_file() else []
        if path.is_dir():
            candidates += path.rglob("*")
        elif scan_folder := find_scan_folder(path):
            candidates += scan_folder.rglob("*")
        elif series:
            candidates += _find_files_of_series(series, path)
        elif candidates and path.suffix.lower() in (".vms", ".vmu"):
            index = _read_head(path)
            candidates += (file for file in path.parent.iterdir() if file.name.encode() in index)
        return tuple(sorted({file for file in candidates if file.is_file()}, key=lambda file: file.as_posix()))
    except OSError as error:
        raise _make_file_error(path, error) from error


def list_candidate_files(path: Path) -> tuple[Path, ...]:
    """List all files that a slide may consist of, without opening it: of DICOM, all files in its folder.

    Raises `OSError` or `SlideError` where they cannot be listed.
    """
    if path.is_file() and (has_dicom_suffix(path) or is_dicom(path)):
        return tuple(sorted(file for file in path.parent.iterdir() if file.is_file()))
    return list_files_at(path)


def fingerprint_files(files: Iterable[Path]) -> str:
    """Return 16 hexadecimal digits that change with the path, size or modification time of any of the files.

    They stand for the contents, which would all have to be read. Raises `SlideError` where a file is gone.
    """
    stats = ((file, _stat(file)) for file in files)
    lines = (f"{file.resolve()}, {stat.st_size} bytes, changed {stat.st_mtime_ns}\n" for file, stat in stats)
    return _hash_pieces(line.encode("utf-8", "surrogateescape") for line in lines)[:16]


def read_file_states(files: Iterable[Path]) -> Iterator[tuple[Path, FileState | None]]:
    """Yield each file with its state, None for a file that is gone."""
    return ((file, read_file_state(file)) for file in files)


def read_file_state(file: Path) -> FileState | None:
    """Return the state of a file; None if there is none. Raises `SlideError` where a server does not answer."""
    try:
        stat = file.stat()
    except OSError as error:
        if is_url(file) and not isinstance(error, FileNotFoundError):
            raise SlideError(f"{file}: {error.strerror}") from None
        return None
    return FileState(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def fingerprint_states(states: Iterable[tuple[Path, FileState | None]]) -> str:
    """Return 16 hexadecimal digits that change with the state of any of the files."""
    lines = (f"{file.resolve()}: {state}\n" for file, state in states)
    return _hash_pieces(line.encode("utf-8", "surrogateescape") for line in lines)[:16]


@contextmanager
def hash_in_background(
    info: SlideInfo, when_done: Callable[[str | None], None] = lambda _: None
) -> Iterator[Future[str | None]]:
    """Context: a thread computes `hash_slide` and calls `when_done` with it; leaving the context stops it early."""
    stop = Event()

    def hash_files() -> str | None:
        digest = hash_slide(info, stop)
        if not stop.is_set():
            when_done(digest)
        return digest

    with ThreadPoolExecutor(1, "wsisr-digest") as pool:
        try:
            with translate_shortage():
                future = pool.submit(hash_files)
            yield future
        finally:
            stop.set()


def hash_slide(info: SlideInfo, stop: Event) -> str | None:
    """Return the SHA-256 of a slide's file in hexadecimal; of several files, that of the lines `sha256sum` prints.

    That is `find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum` in the folder that
    holds them. None for no files. Memory: 1 MiB. After `stop` is set the result is meaningless. Of a slide by URL, of
    which not all is read, the version that the server names, in words.
    Raises `SlideError` where a file cannot be read, or has changed while it was read.
    """
    if is_url(info.path):
        return _describe_version(info.path)
    files = list_slide_files(info)
    before = fingerprint_files(files)
    digest = _hash_files(files, info.path, stop)
    if fingerprint_files(files) != before:
        raise SlideError(f"{info.path}: has changed while it was read; repeat the command when it is complete")
    return digest


def _describe_version(path: Path) -> str:
    """Return what stands for the SHA-256 of a slide by URL: size, and time or digest of its version on the server."""
    files = list_files_at(path)
    state = read_file_state(files[0]) if files else None
    if state is None:
        raise SlideError(f"{path}: has been removed; repeat the command when it is there")
    return f"none, the slide was read by URL: {state.size} bytes, version {state.ctime_ns:014x}"


def _hash_files(files: Sequence[Path], path: Path, stop: Event) -> str | None:
    """Hash one file, or the lines of several as `sha256sum` prints them in their common folder."""
    if len(files) == 1 and not path.is_dir():
        return _hash_file(files[0], stop)
    root = path if path.is_dir() else path.parent
    lines = (f"{_hash_file(file, stop)}  {file.relative_to(root).as_posix()}\n" for file in files)
    return _hash_pieces(line.encode("utf-8", "surrogateescape") for line in lines) if files else None


def _hash_pieces(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _hash_file(path: Path, stop: Event) -> str:
    try:
        with path.open("rb", buffering=0) as file:
            return _hash_pieces(iter(lambda: b"" if stop.is_set() else file.read(_PIECE_BYTES), b""))
    except OSError as error:
        raise _make_file_error(path, error) from error


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise _make_file_error(path, error) from error


def _find_files_of_series(series: str, path: Path) -> Iterator[Path]:
    """Yield the files in the folder of `path` that name a DICOM series."""
    files = (file for file in path.parent.iterdir() if file.is_file())
    return (file for file in files if series.encode() in _read_head(file))


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _make_file_error(path: Path, error: OSError) -> SlideError:
    if is_url(path):
        return SlideError(f"{path}: {error.strerror}")
    return SlideError(f"{path}: cannot be read ({error.strerror}); copy the slide again")
