"""The note that wsisr leaves in what it writes, read back from any layout."""

from __future__ import annotations

import struct
from pathlib import Path

import tifffile

from wsisr.errors import SlideError
from wsisr.writing import aperio, omexml, omezarr

# tifffile promises only the first two; IndexError and TypeError were seen on files with damaged tags.
_NO_TIFF = (OSError, tifffile.TiffFileError, IndexError, KeyError, TypeError, ValueError, struct.error)


def read_note(path: Path) -> dict[str, str]:
    """The note of a TIFF or an OME-Zarr; empty where another program wrote it.

    Raises `SlideError` where it is neither.
    """
    if path.is_dir():
        return omezarr.note_in(path)
    try:
        with tifffile.TiffFile(path) as tiff:
            description = tiff.pages.first.description
    except _NO_TIFF as error:
        raise SlideError(f"{path}: cannot be read as a TIFF; give a file that wsisr wrote") from error
    return aperio.note_in(description) or omexml.note_in(description)
