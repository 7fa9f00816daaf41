"""The Aperio-like TIFF layout: a magnification that OpenSlide shows, a thumbnail, and a label that says what this is.

An explicit subfile type on every IFD and a stripped thumbnail as IFD 1, smaller than every level: without either, some
reader takes a level for something else. cuCIM splits descriptions at exactly " = ".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, halve
from wsisr.writing.layouts.associated_images import add_strip, companions
from wsisr.writing.layouts.tiff_tags import first_fields, level_fields
from wsisr.writing.layouts.tiff_writer import DESCRIPTION, SUBFILE_TYPE, Field, TiffDraft, longs, text
from wsisr.writing.spec import PyramidSpec
from wsisr.writing.workdir.tile_store import TileStore

_KINDS = {"": 0, "label": 1, "macro": 9}
"""Subfile types, as Aperio has them; levels and thumbnail have no name."""

_NOTE = "wsisr "
"""What keys of our note begin with."""


def fill(draft: TiffDraft, levels: Sequence[TileStore], spec: PyramidSpec) -> Iterator[int]:
    """Write the whole file; yields how many tiles were copied, row by row. One tile in memory at a time."""
    for number, level in enumerate(levels):
        head = first_fields(spec, words(spec)) if number == 0 else _described(_words(spec, level.grid.size))
        yield from draft.add_tiles(level_fields(spec, level.grid.size, number) | head, level.rows())
        if number == 0:
            last = levels[-1]
            _add_strip(draft, spec, halve(last.read(Box.of(last.grid.size))), "")
    for name, picture in companions(spec).items():
        _add_strip(draft, spec, picture, name)
    draft.finish()


def words(spec: PyramidSpec) -> bytes:
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


def _described(said: str, name: str = "") -> dict[int, Field]:
    return {SUBFILE_TYPE: longs(_KINDS[name]), DESCRIPTION: text(said.encode())}


def _words(spec: PyramidSpec, size: Size) -> str:
    """`Aperio Image` is how readers know the format; the rest is what each says of the base."""
    tiles = f"{spec.size.width}x{spec.size.height} ({spec.tile_px}x{spec.tile_px})"
    becomes = "" if size == spec.size else f" -> {size.width}x{size.height}"
    coding = f"JPEG/RGB Q={spec.codec.quality}" if spec.codec.method == "jpeg" else f"{spec.codec.method}/RGB"
    return f"Aperio Image, by {_plain(spec.software)}\r\n{tiles}{becomes} {coding}"


def _add_strip(draft: TiffDraft, spec: PyramidSpec, pixels: Rgb, name: str) -> None:
    said = f"{name} {pixels.shape[1]}x{pixels.shape[0]}".strip()
    add_strip(draft, pixels, _described(f"Aperio Image, by {_plain(spec.software)}\r\n{said}", name))


def _plain(words: str) -> str:
    """On one line, without the signs that part entries and end texts."""
    return re.sub(r"[|\x00-\x1f\x7f\ud800-\udfff]", "/", words).replace(" =", ":")
