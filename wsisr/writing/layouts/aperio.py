"""The Aperio-like TIFF layout, from which OpenSlide reads a magnification; with a thumbnail and a label.

Every IFD has an explicit subfile type, and IFD 1 is a stripped thumbnail smaller than every level: without either, some
reader takes a level for another image. It is JPEG, as Aperio's: opentile, and with it wsidicomizer, refuses any other
(opentile#96). Keys are followed by exactly " = ", at which cuCIM splits descriptions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, halve_image
from wsisr.writing.layouts.associated_images import add_jpeg_image, add_lzw_image, build_associated_images
from wsisr.writing.layouts.tiff_tags import build_first_fields, build_level_fields
from wsisr.writing.layouts.tiff_writer import DESCRIPTION, SUBFILE_TYPE, TiffDraft, TiffField, long_field, text_field
from wsisr.writing.spec import PyramidSpec
from wsisr.writing.workdir.tile_store import TileStore

_SUBFILE_TYPES = {"": 0, "label": 1, "macro": 9}
"""Subfile types that Aperio uses, by image name; levels and thumbnail have no name."""

_KEY_PREFIX = "wsisr "
"""Prefix of the keys that hold our metadata in a description."""


def write_aperio(draft: TiffDraft, levels: Sequence[TileStore], spec: PyramidSpec) -> Iterator[int]:
    """Write the whole file; yields, row by row, how many tiles were copied. Memory: a few tiles."""
    for number, level in enumerate(levels):
        size = level.grid.size
        if number == 0:
            fields = build_first_fields(spec, build_aperio_description(spec))
        else:
            fields = _description_fields(_describe_level(spec, size))
        yield from draft.add_tiled_image(build_level_fields(spec, size, number) | fields, level.iterate_rows())
        if number == 0:
            coarsest = levels[-1]
            thumbnail = halve_image(coarsest.read(Box.from_size(coarsest.grid.size)))
            add_jpeg_image(draft, thumbnail, _fields_of_associated_image(spec, thumbnail, ""))
    for name, image in build_associated_images(spec).items():
        add_lzw_image(draft, image, _fields_of_associated_image(spec, image, name))
    draft.finish()


def build_aperio_description(spec: PyramidSpec) -> bytes:
    """Return the description of level 0, the longest in the file."""
    text = _describe_level(spec, spec.size)
    if spec.magnification is not None:
        text += f"|AppMag = {spec.magnification:g}"
    if spec.mpp is not None:
        text += f"|MPP = {spec.mpp:.9g}"
    entries = (f"|{_KEY_PREFIX}{_sanitise(key)} = {_sanitise(value)}" for key, value in spec.metadata.items())
    return (text + "".join(entries)).encode()


def parse_aperio_metadata(description: str) -> dict[str, str]:
    """Return our metadata from a description; empty if it has none."""
    # Readers strip the end of a description, and with it the space after a last "=" whose value is empty.
    pairs = (entry.partition(" =") for entry in description.split("|")[1:])
    return {key.removeprefix(_KEY_PREFIX): value.strip() for key, _, value in pairs if key.startswith(_KEY_PREFIX)}


def _description_fields(description: str, name: str = "") -> dict[int, TiffField]:
    return {SUBFILE_TYPE: long_field(_SUBFILE_TYPES[name]), DESCRIPTION: text_field(description.encode())}


def _describe_level(spec: PyramidSpec, size: Size) -> str:
    """Return the description of a level. Readers know the format by `Aperio Image`; the rest repeats level 0."""
    tiles = f"{spec.size.width}x{spec.size.height} ({spec.tile_px}x{spec.tile_px})"
    level_size = "" if size == spec.size else f" -> {size.width}x{size.height}"
    compression = f"JPEG/RGB Q={spec.codec.quality}" if spec.codec.method == "jpeg" else f"{spec.codec.method}/RGB"
    return f"Aperio Image, by {_sanitise(spec.software)}\r\n{tiles}{level_size} {compression}"


def _fields_of_associated_image(spec: PyramidSpec, pixels: Rgb, name: str) -> dict[int, TiffField]:
    title = f"{name} {pixels.shape[1]}x{pixels.shape[0]}".strip()
    return _description_fields(f"Aperio Image, by {_sanitise(spec.software)}\r\n{title}", name)


def _sanitise(text: str) -> str:
    """Replace the characters that separate entries or end a description."""
    return re.sub(r"[|\x00-\x1f\x7f\ud800-\udfff]", "/", text).replace(" =", ":")
