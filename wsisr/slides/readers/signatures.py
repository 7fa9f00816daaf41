"""What a file is by its first bytes.

Apart from the readers, so that opening a slide imports the one that it needs and no other.
"""

from __future__ import annotations

from pathlib import Path

from wsisr.files import MIRAX_SUFFIX

PNG, JPEG = "png", "jpeg"
"""Vendors of pictures."""

WSISR_TEXT_KEY = "wsisr"
"""Keyword of the text chunk that marks a PNG of wsisr's."""

WSISR_MAGNIFICATION_KEY = "wsisr magnification"
"""Keyword of the text chunk in which such a PNG records its magnification."""

WSISR_SIZE_KEY = "size"
"""Key of the size in px among what such a PNG records as JSON; absent where a caller left it out."""

JPEG_MAGIC = b"\xff\xd8\xff"
_PICTURE_MAGIC = {b"\x89PNG\r\n\x1a\n": PNG, JPEG_MAGIC: JPEG}

ETS_MAGIC = b"SIS\0"
"""Of the files that hold the pixels of an Olympus VSI."""

_CZI_MAGIC = b"ZISRAWFILE"


def detect_picture(path: Path) -> str | None:
    """Return `png` or `jpeg`; None for any other file, and for the JPEG of a MIRAX slide."""
    if path.suffix.lower() == MIRAX_SUFFIX:
        return None
    head = _read_head(path)
    return next((name for magic, name in _PICTURE_MAGIC.items() if head.startswith(magic)), None)


def is_czi(path: Path) -> bool:
    return _read_head(path).startswith(_CZI_MAGIC)


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)
