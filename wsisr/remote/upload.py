"""A finished folder in a bucket: its files are sent and read back one by one, that which makes it a result at last.

A bucket knows no renaming. So a reader who opens the folder by its marker, as `zarr.json` is, finds all of it or none.
Until then another file says that what is there was sent by wsisr: files without either may be somebody's only copy.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wsisr.errors import OutputError, OutputNameError
from wsisr.progress import Progress
from wsisr.remote.path import RemotePath
from wsisr.remote.server import connect, forget_statuses, translate_server_errors

_OWN_FILES = re.compile(r"(([0-9]+|icc)/)?zarr\.json|([0-9]+|icc)/c/[0-9/]+")
"""Names in an OME-Zarr of wsisr; a folder that holds others is left alone."""

_TRIAL = ".wsisr-trial"
"""Name of an empty file that is sent to find out whether files may be."""

UNFINISHED = ".wsisr-unfinished"
"""Name of an empty file that is sent first and removed last."""


def check_upload(output: RemotePath, marker: str, *, overwrite: bool) -> None:
    """Raise `OutputError` if a folder with this marker could not be sent to a server. Call it before any work."""
    if output.is_http or not marker:
        raise OutputNameError(f"{output}: only an OME-Zarr in a bucket (s3://...) can be written by URL")
    try:
        _list_own_files(output, marker, overwrite=overwrite)
        with translate_server_errors(output):
            system, name = connect(output / _TRIAL)
            system.pipe_file(name, b"")
            system.rm_file(name)
    except OSError as error:
        raise _make_upload_error(output, error) from None


def upload_folder(source: Path, output: RemotePath, marker: str, *, overwrite: bool) -> Iterator[Progress]:
    """Send a folder, and yield `upload` in files.

    Files that are there already, of an earlier try, are compared and not sent again; others are removed. Memory: a
    file twice. Raises `OutputError`, also where a file does not read back as it was sent.
    """
    files = [file.relative_to(source).as_posix() for file in sorted(source.rglob("*")) if file.is_file()]
    try:
        present = _list_own_files(output, marker, overwrite=overwrite)
        _upload_file(output / UNFINISHED, b"", is_present=UNFINISHED in present)
        # From here on the folder is no result, until its marker is sent.
        for name in sorted({marker} & present.keys()) + sorted(present.keys() - {marker, UNFINISHED, *files}):
            _remove_file(output / name)
        for done, name in enumerate(sorted(files, key=lambda name: name == marker), start=1):
            data = (source / name).read_bytes()
            _upload_file(output / name, data, is_present=name != marker and present.get(name) == len(data))
            yield Progress("upload", done, len(files))
        _remove_file(output / UNFINISHED)
    except OSError as error:
        raise _make_upload_error(output, error) from None
    finally:
        forget_statuses(output)


def _list_own_files(output: RemotePath, marker: str, *, overwrite: bool) -> dict[str, int]:
    """List what is there of the folder. Raises `OutputError` if it may not be replaced."""
    present = list_uploaded_files(output)
    if marker in present and not overwrite:
        raise OutputError(f"{output}: exists already; choose another name, or replace it with --overwrite")
    files = sorted(present.keys() - {UNFINISHED})
    is_ours = not present.keys().isdisjoint({marker, UNFINISHED})
    foreign = next((name for name in files if not (is_ours and _OWN_FILES.fullmatch(name))), None)
    if foreign:
        raise OutputError(f"{output}: also holds {foreign}, which would be lost; choose another name")
    return present


def list_uploaded_files(folder: RemotePath) -> dict[str, int]:
    """Return the bytes of each file in a folder of a bucket, by its name within. Raises `OSError`."""
    with translate_server_errors(folder):
        system, name = connect(folder)
        system.invalidate_cache()
        found: dict[str, dict[str, Any]] = system.find(name, detail=True)
    prefix = f"{name.rstrip('/')}/"
    files = {path.removeprefix(prefix): int(info["size"] or 0) for path, info in found.items()}
    return {path: size for path, size in files.items() if path != _TRIAL}


def _upload_file(path: RemotePath, data: bytes, *, is_present: bool) -> None:
    with translate_server_errors(path):
        system, name = connect(path)
        if is_present and system.cat_file(name) == data:
            return
        system.pipe_file(name, data)
        is_same = system.cat_file(name) == data
    if not is_same:
        raise OSError(errno.EIO, f"{path.name} does not read back as it was sent; repeat the command")


def _remove_file(path: RemotePath) -> None:
    with translate_server_errors(path):
        system, name = connect(path)
        system.rm_file(name)


def _make_upload_error(output: RemotePath, error: OSError) -> OutputError:
    # Nothing is read before it is sent, so whatever is missing is above it.
    is_missing = error.errno == errno.ENOENT
    reason = "its bucket or folder is missing; create it, or check the URL" if is_missing else error.strerror or error
    return OutputError(f"{output}: cannot be written: {reason}")
