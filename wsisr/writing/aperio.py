"""The Aperio-like TIFF layout: a magnification that OpenSlide shows, a thumbnail, and a label that says what this is.

An explicit subfile type on every IFD and a stripped thumbnail as IFD 1, smaller than every level: without either, some
reader takes a level for something else. cuCIM splits descriptions at exactly " = ".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import imagecodecs
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsisr.geometry import Box, Size
from wsisr.pixels import Rgb, halve
from wsisr.writing.images import first_fields, level_fields, pixel_fields
from wsisr.writing.spec import TiffSpec
from wsisr.writing.store import TileStore
from wsisr.writing.tiff import DESCRIPTION, SUBFILE_TYPE, Field, TiffDraft, longs, text

_LZW, _ROWS_PER_STRIP = 5, 278
_LEVEL, _LABEL = 0, 1
"""Subfile types, as Aperio has them."""

_NOTE = "wsisr "
"""What keys of our note begin with."""

LABEL = Size(420, 420)
"""Px, about what scanners take of a label."""


def fill(draft: TiffDraft, levels: Sequence[TileStore], spec: TiffSpec) -> Iterator[int]:
    """Write the whole file; yields how many tiles were copied, after each level. One tile in memory at a time."""
    copied = 0
    for number, level in enumerate(levels):
        head = first_fields(spec, words(spec)) if number == 0 else _described(_words(spec, level.grid.size))
        draft.add(level_fields(spec, level.grid.size, number) | head, level.tiles())
        if number == 0:
            last = levels[-1]
            _add_strip(draft, spec, halve(last.read(Box.of(last.grid.size))), "")
        copied += level.grid.tiles
        yield copied
    _add_strip(draft, spec, drawn_label(spec.title), "label")
    draft.finish(subifds=False)


def words(spec: TiffSpec) -> bytes:
    """The longest description in the file."""
    said = _words(spec, spec.size)
    if spec.magnification is not None:
        said += f"|AppMag = {spec.magnification:g}"
    if spec.mpp is not None:
        said += f"|MPP = {spec.mpp:.9g}"
    return (said + "".join(f"|{_NOTE}{_plain(key)} = {_plain(value)}" for key, value in spec.note.items())).encode()


def note_in(description: str) -> dict[str, str]:
    """The note in a description; empty where there is none."""
    # Readers strip the end of a description, and so the blank after the last sign where its value is empty.
    pairs = (entry.partition(" =") for entry in description.split("|")[1:])
    return {key.removeprefix(_NOTE): value.strip() for key, _, value in pairs if key.startswith(_NOTE)}


def drawn_label(title: str) -> Rgb:
    """A white label with words on it; viewers show it where they hide metadata."""
    image = Image.new("RGB", (LABEL.width, LABEL.height), "white")
    lines = ["DERIVED IMAGE", "", *re.sub(r"(.{1,30})(?: +|$)", r"\1\n", title).splitlines()]
    ImageDraw.Draw(image).multiline_text((20, 20), "\n".join(lines), "black", ImageFont.load_default(24))
    return np.asarray(image)


def _described(said: str, kind: int = _LEVEL) -> dict[int, Field]:
    return {SUBFILE_TYPE: longs(kind), DESCRIPTION: text(said.encode())}


def _words(spec: TiffSpec, size: Size) -> str:
    """`Aperio Image` is how readers know the format; the rest is what each says of the base."""
    tiles = f"{spec.size.width}x{spec.size.height} ({spec.tile_px}x{spec.tile_px})"
    becomes = "" if size == spec.size else f" -> {size.width}x{size.height}"
    coding = f"JPEG/RGB Q={spec.codec.quality}" if spec.codec.method == "jpeg" else f"{spec.codec.method}/RGB"
    return f"Aperio Image, by {_plain(spec.software)}\r\n{tiles}{becomes} {coding}"


def _add_strip(draft: TiffDraft, spec: TiffSpec, pixels: Rgb, name: str) -> None:
    """One strip, in LZW: a label's letters would ring in JPEG."""
    size = Size(pixels.shape[1], pixels.shape[0])
    said = f"Aperio Image, by {_plain(spec.software)}\r\n{name} {size.width}x{size.height}".replace("\n ", "\n")
    fields = pixel_fields(size, _LZW) | _described(said, _LABEL if name else _LEVEL)
    draft.add(fields | {_ROWS_PER_STRIP: longs(size.height)}, [_lzw(pixels)], tiled=False)


def _lzw(pixels: Rgb) -> bytes:
    return bytes(imagecodecs.lzw_encode(pixels.tobytes()))


def _plain(words: str) -> str:
    """On one line, without the signs that part entries and end texts."""
    return re.sub(r"[|\x00-\x1f\x7f\ud800-\udfff]", "/", words).replace(" =", ":")
