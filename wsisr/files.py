"""Files and folders that appear under their name whole or not at all, and what a disk refuses, as one line."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
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
    errno.ENOSYS: "this disk does not support file locks; choose another folder",
}

ASIDE = "replaced"
"""Name of a folder that is being replaced."""

# What is answered for folders, and by file systems without hard links (FAT, some network shares).
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


def check_output(output: Path, *, overwrite: bool, marker: str = "") -> None:
    """Raise `OutputError` where an output could not get its name; costs next to nothing, so ask before any work.

    An output that is a folder may replace one of its kind, which holds a file by the name of `marker`.
    """
    with disk_errors(output):
        if not output.parent.is_dir():
            raise OutputError(f"{output}: there is no folder {output.parent}; create it first")
        if output.is_dir() and not marker:
            raise OutputError(f"{output}: is a folder; give the name of a file")
        if os.path.lexists(output) and not overwrite:
            raise _exists(output)
        if marker and os.path.lexists(output) and not (output / marker).is_file():
            raise OutputError(f"{output}: is no folder with a {marker}, so it is not replaced; choose another name")
        if not marker and output.exists() and not output.is_file():
            raise OutputError(f"{output}: is not a regular file; choose another name")
        with tempfile.TemporaryFile(dir=output.parent):
            pass  # what permissions do not tell, trying does; it has no name, or loses it at once


def check_suffix(output: Path, suffixes: tuple[str, ...]) -> None:
    """Raise `OutputError` where a name promises another format than what will be in it."""
    if output.suffix.lower() not in suffixes:
        raise OutputError(f"{output}: its name must end in {' or '.join(suffixes)}, for that is what is written")


def refuse_source(output: Path, slide: Path) -> None:
    """Raise `OutputError` where an output is the slide it is made from, or a part of it. Asked before any work."""
    try:
        with disk_errors(output):
            belongs = _belongs(output.resolve(), slide.resolve())
    except RuntimeError as error:  # as `resolve` says it before Python 3.13
        raise OutputError(f"{output}: is a link that leads to itself; choose another name") from error
    if belongs:
        raise OutputError(f"{output}: belongs to the slide itself; give the result another name")


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a group or an array of a zarr, of either version."""
    return any((folder / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs", ".zarray"))


def zarr_around(path: Path) -> Path | None:
    """The outermost zarr that a path is or lies in; None where it lies in none."""
    around = [folder for folder in (path, *path.parents) if is_zarr(folder)]
    return around[-1] if around else None


def _belongs(output: Path, slide: Path) -> bool:
    """Paths are absolute. Of a zarr, whatever lies anywhere in it; of a DICOM slide, the files of its folder."""
    zarr = zarr_around(slide)
    if zarr is not None and zarr in (output, *output.parents):
        return True
    # Whichever of its files was named, all of them are the slide.
    folder = slide if slide.is_dir() else slide.parent if slide.suffix.lower() == ".dcm" else None
    return output.exists() and (output.samefile(slide) or output.parent == folder)


def bytes_of(path: Path) -> int:
    """Of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def remove(path: Path) -> None:
    """A file, or a folder with all that is in it; nothing where there is neither."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def publish(finished: Path, output: Path, *, overwrite: bool) -> None:
    """Move a finished file or folder, already on the disk to the last byte, to its name. Raises `OutputError`.

    It is one step, but where a folder replaces another: the old one then lies beside `finished` for a moment.
    """
    with disk_errors(output):
        if not overwrite:
            _name_unless_taken(finished, output)
        elif finished.is_dir() and output.is_dir():
            _swap(finished, output)
        else:
            finished.replace(output)
        sync_folder(output.parent)


def _swap(finished: Path, output: Path) -> None:
    # No rename replaces a folder that holds anything.
    aside = finished.with_name(ASIDE)
    output.rename(aside)
    try:
        finished.rename(output)
    except OSError:
        aside.rename(output)
        raise
    remove(aside)


def _name_unless_taken(finished: Path, output: Path) -> None:
    # Renaming would replace a file that appeared a moment ago; linking refuses.
    try:
        os.link(finished, output)
    except FileExistsError as error:
        raise _exists(output) from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(output):
            raise _exists(output) from error
        finished.rename(output)


def _exists(output: Path) -> OutputError:
    return OutputError(f"{output}: exists already; choose another name, or replace it with --overwrite")


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
