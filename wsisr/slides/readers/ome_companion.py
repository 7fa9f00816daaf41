"""Companion files: OME-XML of a TIFF that lies beside it, as a text file or in another TIFF.

Only a file in the same folder is read, whatever the TIFF says, and only up to a bound.
"""

from __future__ import annotations

from pathlib import Path

import tifffile

from wsisr.bounds import MAX_XML_CHARACTERS
from wsisr.slides.readers.ome_xml import find_companion_name

_TIFF_SUFFIXES = (".tif", ".tiff", ".btf")


def load_ome_xml(path: Path, description: str) -> str:
    """Return the OME-XML of a TIFF: its description, or its companion's text, if it has one that can be read."""
    name = find_companion_name(description)
    return description if name is None else _load_companion(path, name) or description


def _load_companion(path: Path, name: str) -> str | None:
    companion = path.parent / name
    # A name with a folder in it, or a link, would lead out of the slide's folder.
    if Path(name).name != name or companion.is_symlink() or not companion.is_file():
        return None
    try:
        if companion.suffix.lower() in _TIFF_SUFFIXES:
            with companion.open("rb") as file, tifffile.TiffFile(file, _multifile=False) as tiff:
                return str(tiff.pages.first.description)
        with companion.open("rb") as file:
            return file.read(MAX_XML_CHARACTERS + 1).decode()
    except (OSError, ValueError, LookupError, TypeError, tifffile.TiffFileError):
        return None
