"""Reads back the provenance metadata that wsisr writes into every output, from any layout."""

from __future__ import annotations

import struct
from pathlib import Path

import tifffile

from wsisr.errors import SlideError, SlideNotFoundError, describe_error
from wsisr.files import describe_special_file, is_dicom, is_zarr
from wsisr.slides.readers.signatures import PNG, detect_picture
from wsisr.writing.layouts import aperio, ome_xml, ome_zarr
from wsisr.writing.layouts.dicom_note import read_dicom_metadata
from wsisr.writing.layouts.png import read_png_metadata

# tifffile promises only the first two; IndexError and TypeError were seen on files with damaged tags.
_TIFF_ERRORS = (OSError, tifffile.TiffFileError, IndexError, KeyError, TypeError, ValueError, struct.error)

_FIRST_DIRECTORY = {b"II*\0": "<4xI", b"MM\0*": ">4xI", b"II+\0": "<8xQ", b"MM\0+": ">8xQ"}
"""Maps the first bytes of a TIFF to the struct format that unpacks the offset of its first directory."""


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata that wsisr wrote into a TIFF, PNG, OME-Zarr or DICOM; empty if another program wrote it.

    Raises `SlideError` if the path does not exist, or is none of these.
    """
    if is_zarr(path):
        return ome_zarr.read_ome_zarr_metadata(path)
    if path.is_dir() or is_dicom(path):
        return read_dicom_metadata(path)
    special = describe_special_file(path)
    if special:
        raise SlideError(f"{path}: is {special}; give a file that wsisr wrote")
    if path.is_file() and detect_picture(path) == PNG:
        return read_png_metadata(path)
    try:
        with path.open("rb") as file, tifffile.TiffFile(file) as tiff:
            description = tiff.pages.first.description
    except _TIFF_ERRORS as error:
        error_type = SlideNotFoundError if isinstance(error, FileNotFoundError) else SlideError
        raise error_type(f"{path}: {_describe_damage(path, error)}") from error
    return aperio.parse_aperio_metadata(description) or ome_xml.parse_ome_metadata(description)


def _describe_damage(path: Path, error: Exception) -> str:
    """Return why a file cannot be read as a TIFF, and what to do about it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror.lower()}; give a file that wsisr wrote"
    with path.open("rb") as file:
        header = file.read(16)
    offset_format = _FIRST_DIRECTORY.get(header[:4])
    if not offset_format:
        return "cannot be read as a TIFF; give a file that wsisr wrote"
    size = path.stat().st_size
    if len(header) < 16 or struct.unpack_from(offset_format, header)[0] >= size:
        return f"is cut off: it ends after {size} bytes, before its first directory; copy it again"
    return f"a damaged TIFF, perhaps cut off ({describe_error(error)}); copy it again"
