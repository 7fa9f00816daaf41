"""Atomic writing of files and folders, checks of output paths, and disk errors as one line."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path

from wsisr.errors import OutputError, OutputNameError
from wsisr.remote.path import ZARR_METADATA_NAMES, RemotePath, is_url, make_path

_ADVICE = {
    errno.ENOSPC: "free some space or choose another folder",
    errno.EDQUOT: "free some space or choose another folder",
    errno.EFBIG: "files of this size are not allowed on this disk or for this account; choose another folder",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "end other programs that have files open",
    errno.ENOLCK: "this disk does not support file locks; choose another folder",
    errno.ENOTSUP: "this disk does not support file locks; choose another folder",
    errno.ENOSYS: "this disk does not support file locks; choose another folder",
}

_DICOM_MAGIC_END = 132
"""Bytes up to the end of DICOM's magic, which follows 128 of any content."""

LOCAL_OUTPUT_ADVICE = (
    "results are written on this machine, only one OME-Zarr into a bucket (s3://BUCKET/NAME.ome.zarr); give a path, "
    "and copy the finished result to the server"
)

REPLACED_FOLDER = "replaced"
"""Temporary name of a folder while another replaces it."""

# Errors of `link` for folders and on file systems without hard links (FAT, some network shares).
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}

MIRAX_SUFFIX = ".mrxs"
"""Suffix of MIRAX slides: a JPEG of the glass, whose scan lies in the folder of the same name."""

VSI_SUFFIX = ".vsi"
"""Suffix of Olympus slides: a TIFF of the glass, whose scan lies in the folder of the same name between underscores."""


@contextmanager
def translate_disk_errors(output: Path) -> Iterator[None]:
    """Context: turn an `OSError` into an `OutputError` of one line that names the output and says what to do."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        advice = _ADVICE.get(error.errno or 0, "choose another folder")
        raise OutputError(f"{output}: cannot be written: {reason}; {advice}") from error


def write_atomically(path: Path, pieces: Iterable[bytes], *, overwrite: bool = True) -> None:
    """Write a file from its pieces; it gets its name only when its last byte is on the disk.

    Memory: one piece. Raises `OutputError` if the disk refuses; an existing file is then left unchanged.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with translate_disk_errors(path):
        try:
            partial.unlink(missing_ok=True)  # of a killed process that had this number
            with partial.open("xb") as file:  # never through a link
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            publish_output(partial, path, overwrite=overwrite)
        finally:
            with suppress(OSError):
                partial.unlink()  # fails after success, when the file has its final name


def check_output(output: Path, *, overwrite: bool, marker: str = "", own_files: tuple[str, ...] = ("*",)) -> None:
    """Raise `OutputError` if an output could not be given its name. It is cheap: call it before any work.

    An output folder may replace only a folder of its kind, which contains a file named `marker`, and nothing whose name
    matches none of the patterns `own_files`.
    """
    if is_url(output):
        check_url_output(make_path(output), marker=marker, overwrite=overwrite)
        return
    with translate_disk_errors(output):
        if not output.parent.is_dir():
            raise OutputNameError(f"{output}: there is no folder {output.parent}; create it first")
        if output.is_dir() and not marker:
            raise OutputError(f"{output}: is a folder; give the name of a file")
        if os.path.lexists(output) and not overwrite:
            raise _make_exists_error(output)
        if marker and os.path.lexists(output) and not (output / marker).is_file():
            raise OutputError(f"{output}: is not a folder with a {marker}, so it is not replaced; choose another name")
        foreign = _list_other_names(output, own_files) if marker and output.is_dir() else []
        if foreign:
            raise OutputError(f"{output}: also holds {foreign[0]}, which would be lost; choose another name")
        if not marker and output.exists() and not output.is_file():
            raise OutputError(f"{output}: is not a regular file; choose another name")
        with tempfile.TemporaryFile(dir=output.parent):
            pass  # permission bits do not tell everything, a trial does; the file has no name, or loses it at once


def check_url_output(output: Path, *, marker: str, overwrite: bool) -> None:
    """Raise `OutputError` if an output by URL could not be written: only an OME-Zarr in a bucket can."""
    from wsisr.remote.upload import check_upload  # noqa: PLC0415 - only outputs by URL need it

    if not isinstance(output, RemotePath) or marker != "zarr.json":
        raise OutputNameError(f"{output}: {LOCAL_OUTPUT_ADVICE}")
    check_upload(output, marker, overwrite=overwrite)


def _list_other_names(folder: Path, patterns: tuple[str, ...]) -> list[str]:
    """Return the names in a folder that match none of the patterns."""
    names = sorted(path.name for path in folder.iterdir()) if patterns != ("*",) else []
    return [name for name in names if not any(fnmatchcase(name, pattern) for pattern in patterns)]


def check_suffix(output: Path, suffixes: tuple[str, ...]) -> None:
    """Raise `OutputNameError` if the suffix of a name stands for another format than the one that will be written."""
    if output.suffix.lower() not in suffixes:
        raise OutputNameError(f"{output}: its name must end in {' or '.join(suffixes)}, the format that is written")


def refuse_source(output: Path, slide: Path) -> None:
    """Raise `OutputError` if an output is the slide it is made from or a part of it. Call it before any work."""
    if is_url(output) != is_url(slide):
        return
    if is_url(slide):
        if make_path(slide) in (make_path(output), *make_path(output).parents):
            raise OutputError(f"{output}: belongs to the slide; give the result another name")
        return
    try:
        with translate_disk_errors(output):
            is_part = _is_part_of_slide(output.resolve(), slide.resolve())
    except RuntimeError as error:  # what `resolve` raises before Python 3.13; later it returns the path
        raise OutputError(f"{output}: is a symbolic link that leads back to itself; choose another name") from error
    if is_part:
        raise OutputError(f"{output}: belongs to the slide; give the result another name")


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a zarr group or array, of version 2 or 3."""
    if is_url(folder) and not any(part.endswith(".zarr") for part in folder.parts) and folder.is_file():
        return False  # known from one question in place of four
    if is_url(folder):
        return any((folder / name).is_file() for name in ZARR_METADATA_NAMES)
    # Asked of every slide and all folders above it, so without a `Path` for each name.
    return os.path.isdir(folder) and any(os.path.isfile(f"{folder}/{name}") for name in ZARR_METADATA_NAMES)  # noqa: PTH112, PTH113


def describe_special_file(path: Path) -> str:
    """Return in words what a path is that is neither a file nor a folder; empty for those, and where nothing is."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    kinds = {stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device"}
    return next((words for is_kind, words in kinds.items() if is_kind(mode)), "")


def find_scan_folder(path: Path) -> Path | None:
    """Return the folder beside a MIRAX slide or an Olympus VSI that holds its scan; None for any other slide."""
    if path.suffix.lower() == MIRAX_SUFFIX:
        return path.with_suffix("")
    return path.with_name(f"_{path.stem}_") if path.suffix.lower() == VSI_SUFFIX else None


def has_dicom_suffix(path: Path) -> bool:
    return path.suffix.lower() == ".dcm"


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its content: archives hand such files out under any name."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(_DICOM_MAGIC_END)[-4:] == b"DICM"


def find_outermost_zarr(path: Path) -> Path | None:
    """Return the outermost zarr folder that contains a path or is it; None if there is none."""
    zarrs = [folder for folder in (path, *path.parents) if is_zarr(folder)]
    return zarrs[-1] if zarrs else None


def _is_part_of_slide(output: Path, slide: Path) -> bool:
    """Whether an output lies anywhere inside a zarr slide or among the files of a DICOM slide. Paths are absolute."""
    above_output = {output, *output.parents}
    if any(is_zarr(folder) for folder in (slide, *slide.parents) if folder in above_output):
        return True
    # All files in the folder belong to a DICOM slide, whichever of them was named.
    folder = slide if slide.is_dir() else slide.parent if has_dicom_suffix(slide) or is_dicom(slide) else None
    is_among_files = output.parent == folder and not output.is_dir()
    return output.exists() and (output.samefile(slide) or output == folder or is_among_files)


def count_file_bytes(path: Path) -> int:
    """Return the size of a file, or of all files in a folder, which may be in a bucket."""
    if isinstance(path, RemotePath):
        from wsisr.remote.upload import list_uploaded_files  # noqa: PLC0415 - only outputs by URL need it

        return sum(list_uploaded_files(path).values())
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def remove_path(path: Path) -> None:
    """Remove a file, or a folder with its contents; do nothing if the path does not exist."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def publish_output(finished: Path, output: Path, *, overwrite: bool) -> None:
    """Move a finished file or folder, whose last byte is on the disk, to its final name. Raises `OutputError`.

    This is atomic, except when a folder replaces another: the old one is then briefly kept beside `finished`.
    """
    with translate_disk_errors(output):
        if not overwrite:
            _move_unless_taken(finished, output)
        elif finished.is_dir() and output.is_dir():
            _swap_folders(finished, output)
        else:
            finished.replace(output)
        sync_folder(output.parent)


def _swap_folders(finished: Path, output: Path) -> None:
    # `rename` cannot replace a folder that is not empty.
    replaced = finished.with_name(REPLACED_FOLDER)
    output.rename(replaced)
    try:
        finished.rename(output)
    except OSError:
        replaced.rename(output)
        raise
    remove_path(replaced)


def _move_unless_taken(finished: Path, output: Path) -> None:
    # `rename` would replace a file that appeared a moment ago; `link` refuses.
    try:
        os.link(finished, output)
    except FileExistsError as error:
        raise _make_exists_error(output) from error
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if os.path.lexists(output):
            raise _make_exists_error(output) from error
        finished.rename(output)


def _make_exists_error(output: Path) -> OutputError:
    return OutputError(f"{output}: exists already; choose another name, or replace it with --overwrite")


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
