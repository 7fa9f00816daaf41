"""The metadata in a DICOM output: JSON in a private element of every level, so that each tells where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from wsisr.errors import SlideError, SlideNotFoundError, describe_error
from wsisr.slides.readers.dicom import find_dicom_file
from wsisr.slides.readers.dicom_header import read_dicom_note

LEVEL_FILE = "level-{}.dcm"
"""Name of the file of each level, by number."""

FIRST_LEVEL_FILE = LEVEL_FILE.format(0)

PICTURE_FILE = "{}.dcm"
"""Name of the file of the slide's label or macro image, by its name."""

OWN_FILES = (LEVEL_FILE.format("*"), *map(PICTURE_FILE.format, ("label", "macro")))
"""Patterns of the names of all files of a slide."""


def encode_dicom_note(metadata: Mapping[str, str]) -> str:
    """Return the content of the private element, in ASCII."""
    return json.dumps(dict(metadata))


def read_dicom_metadata(path: Path) -> dict[str, str]:
    """Return our metadata from a DICOM slide, a folder or one of its files; empty if it has none.

    Raises `SlideError` if there is no DICOM slide, or the metadata are damaged.
    """
    try:
        note = read_dicom_note(_find_level_file(path))
    except OSError as error:
        error_type = SlideNotFoundError if isinstance(error, FileNotFoundError) else SlideError
        raise error_type(f"{path}: cannot be opened ({error.strerror}); give a slide that wsisr wrote") from error
    try:
        return {str(name): str(text) for name, text in dict(json.loads(note or b"{}")).items()}
    except (ValueError, TypeError, RecursionError) as error:
        raise SlideError(f"{path}: its metadata are damaged ({describe_error(error)}); copy it again") from error


def _find_level_file(path: Path) -> Path:
    """Return the file that holds the metadata of a slide, which an archive may have renamed."""
    first = path / FIRST_LEVEL_FILE
    if not path.is_dir() or first.is_file():
        return first if path.is_dir() else path
    return find_dicom_file(path)
