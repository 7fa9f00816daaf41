"""Files that appear under their name whole or not at all, and what a disk refuses, as one line."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wsisr.errors import OutputError

_ADVICE = {
    errno.ENOSPC: "free some space or choose another folder",
    errno.EDQUOT: "free some space or choose another folder",
    errno.EFBIG: "this disk or this account does not take files that large; choose another folder",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOLCK: "this disk does not support file locks; choose another folder",
    errno.ENOTSUP: "this disk does not support file locks; choose another folder",
}

# What file systems without hard links answer (FAT, some network shares).
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


@contextmanager
def disk_errors(output: Path) -> Iterator[None]:
    """Turn the `OSError`s of writing an output into one line that names it and says what to do."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        advice = _ADVICE.get(error.errno or 0, "choose another folder")
        raise OutputError(f"{output}: cannot be written: {reason}; {advice}") from error


def write_whole(path: Path, pieces: Iterable[bytes], *, overwrite: bool = True) -> None:
    """Writes a file from its pieces, on the disk to the last byte before it gets its name.

    Memory is that of one piece. Raises `OutputError` where the disk refuses; the older file, if any, then stays.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with disk_errors(path):
        try:
            with partial.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            publish(partial, path, overwrite=overwrite)
        finally:
            with suppress(OSError):
                partial.unlink()  # gone already where it was renamed


def check_output(output: Path, *, overwrite: bool) -> None:
    """Raise `OutputError` where an output could not get its name; costs nothing, so ask before any work."""
    with disk_errors(output):
        if not output.parent.is_dir():
            raise OutputError(f"{output}: there is no folder {output.parent}; create it first")
        if output.is_dir():
            raise OutputError(f"{output}: is a folder; give the name of a file")
        if os.path.lexists(output) and not overwrite:
            raise _exists(output)
        if output.exists() and not output.is_file():
            raise OutputError(f"{output}: is not a regular file; choose another name")


def check_suffix(output: Path, suffixes: tuple[str, ...]) -> None:
    """Raise `OutputError` where a name promises another format than what will be in it."""
    if output.suffix.lower() not in suffixes:
        raise OutputError(f"{output}: its name must end in {' or '.join(suffixes)}, for that is what is written")


def refuse_source(output: Path, slide: Path) -> None:
    """Raise `OutputError` where an output is the slide it is made from, or a part of it. Asked before any work."""
    with disk_errors(output):
        if not output.exists():
            return
        # A DICOM slide is a folder of files, whichever of them was named.
        folder = slide if slide.is_dir() else slide.parent if slide.suffix.lower() == ".dcm" else None
        if output.samefile(slide) or (folder and output.resolve().parent == folder.resolve()):
            raise OutputError(f"{output}: belongs to the slide itself; give the result another name")


def publish(finished: Path, output: Path, *, overwrite: bool) -> None:
    """Move a finished file, already on the disk to the last byte, to its name in one step. Raises `OutputError`."""
    with disk_errors(output):
        if overwrite:
            finished.replace(output)
        else:
            _name_unless_taken(finished, output)
        _sync_folder(output.parent)


def _name_unless_taken(finished: Path, output: Path) -> None:
    # Renaming would replace a file that appeared a moment ago; linking refuses.
    try:
        os.link(finished, output)
    except FileExistsError as error:
        raise _exists(output) from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        check_output(output, overwrite=False)
        finished.rename(output)


def _exists(output: Path) -> OutputError:
    return OutputError(f"{output}: exists already; choose another name, or replace it with --overwrite")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
