"""The note that wsisr leaves in what it writes, read back from any layout."""

from __future__ import annotations

import struct
from pathlib import Path

import tifffile

from wsisr.errors import SlideError, in_words
from wsisr.writing.layouts import aperio, ome_xml, ome_zarr

# tifffile promises only the first two; IndexError and TypeError were seen on files with damaged tags.
_NO_TIFF = (OSError, tifffile.TiffFileError, IndexError, KeyError, TypeError, ValueError, struct.error)

_DIRECTORY = {b"II*\0": "<4xI", b"MM\0*": ">4xI", b"II+\0": "<8xQ", b"MM\0+": ">8xQ"}
"""First bytes of a TIFF to where its header tells the first directory."""


def read_note(path: Path) -> dict[str, str]:
    """The note of a TIFF or an OME-Zarr; empty where another program wrote it.

    Raises `SlideError` where it is neither, or is not there.
    """
    if path.is_dir():
        return ome_zarr.note_in(path)
    try:
        with tifffile.TiffFile(path) as tiff:
            description = tiff.pages.first.description
    except _NO_TIFF as error:
        raise SlideError(f"{path}: {_why(path, error)}") from error
    return aperio.note_in(description) or ome_xml.note_in(description)


def _why(path: Path, error: Exception) -> str:
    """What keeps a file from being read as a TIFF, and what now."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror.lower()}; give a file that wsisr wrote"
    with path.open("rb") as file:
        head = file.read(16)
    form = _DIRECTORY.get(head[:4])
    if not form:
        return "cannot be read as a TIFF; give a file that wsisr wrote"
    size = path.stat().st_size
    if len(head) < 16 or struct.unpack_from(form, head)[0] >= size:
        return f"is cut off: it ends after {size} bytes, before its first directory; copy it again"
    return f"a damaged TIFF, perhaps cut off ({in_words(error)}); copy it again"
