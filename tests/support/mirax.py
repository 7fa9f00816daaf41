"""Small MIRAX slides, as far as OpenSlide reads them: a JPEG of the glass, and a folder with the slide."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np

from tests.support.samples import make_noise
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb

TILE_PX = 64
_SLIDE_ID = "0123456789abcdef0123456789abcdef"
_JPEG_START = b"\xff\xd8\xff"
"""Beginning of a JPEG, which cannot occur within its coded pixels."""


def write_mirax(path: Path, levels: Sequence[Rgb], mpp: float = 0.5) -> Path:
    """Write a slide of whole tiles, each level half the one above, and return its path.

    What lies at the path is a JPEG, as it is of real slides; the tiles lie in the folder of the same name.
    """
    folder = path.with_suffix("")
    folder.mkdir()
    path.write_bytes(imagecodecs.jpeg8_encode(make_noise(Size(40, 60))))
    tiles = [_cut_tiles(image) for image in levels]
    (folder / "Data0000.dat").write_bytes(b"".join(tile for level in tiles for tile in level))
    (folder / "Index.dat").write_bytes(_make_index(tiles, levels[0].shape[1] // TILE_PX))
    (folder / "Slidedat.ini").write_text("\ufeff" + _make_ini(levels, mpp), encoding="utf-8")
    return path


def decode_mirax_tiles(path: Path, size: Size, level: int) -> Rgb:
    """Cut the JPEG tiles of a level of halved sizes out of the data file, decode them and put them side by side."""
    pieces = (path.with_suffix("") / "Data0000.dat").read_bytes().split(_JPEG_START)[1:]
    tiles = [np.asarray(imagecodecs.jpeg8_decode(_JPEG_START + piece)) for piece in pieces]
    across, down = size.width // TILE_PX, size.height // TILE_PX
    start = sum((across * down) * 4**finer for finer in range(1, level + 1))
    rows = [
        np.concatenate(tiles[first : first + across], axis=1) for first in range(start, start + across * down, across)
    ]
    return np.concatenate(rows)


def _cut_tiles(image: Rgb) -> list[bytes]:
    height, width = image.shape[:2]
    places = ((top, left) for top in range(0, height, TILE_PX) for left in range(0, width, TILE_PX))
    tiles = (np.ascontiguousarray(image[top : top + TILE_PX, left : left + TILE_PX]) for top, left in places)
    return [bytes(imagecodecs.jpeg8_encode(tile, level=90, subsampling="444")) for tile in tiles]


def _make_index(tiles: Sequence[Sequence[bytes]], images_across: int) -> bytes:
    """Return version, id, the place of the table of levels, and for each level an empty page and one of its tiles."""
    head = b"01.02" + _SLIDE_ID.encode()
    table_at = len(head) + 8
    at, offset, table, pages = table_at + 4 * len(tiles), 0, b"", b""
    for level, encoded in enumerate(tiles):
        across = images_across >> level
        items = b""
        for number, tile in enumerate(encoded):
            image = ((number // across) * images_across + number % across) << level
            items += struct.pack("<4i", image, offset, len(tile), 0)
            offset += len(tile)
        page = struct.pack("<2i", 0, at + 8) + struct.pack("<2i", len(encoded), 0) + items
        table += struct.pack("<i", at)
        pages += page
        at += len(page)
    return head + struct.pack("<2i", table_at, 0) + table + pages


def _make_ini(levels: Sequence[Rgb], mpp: float) -> str:
    height, width = levels[0].shape[:2]
    lines = [
        "[GENERAL]",
        "SLIDE_VERSION=01.02",
        f"SLIDE_ID={_SLIDE_ID}",
        f"IMAGENUMBER_X={width // TILE_PX}",
        f"IMAGENUMBER_Y={height // TILE_PX}",
        "OBJECTIVE_MAGNIFICATION=20",
        "[HIERARCHICAL]",
        "INDEXFILE=Index.dat",
        "HIER_COUNT=1",
        "NONHIER_COUNT=0",
        "HIER_0_NAME=Slide zoom level",
        f"HIER_0_COUNT={len(levels)}",
        *(f"HIER_0_VAL_{number}_SECTION=LEVEL_{number}" for number in range(len(levels))),
        "[DATAFILE]",
        "FILE_COUNT=1",
        "FILE_0=Data0000.dat",
    ]
    for number in range(len(levels)):
        lines += [
            f"[LEVEL_{number}]",
            "OVERLAP_X=0",
            "OVERLAP_Y=0",
            f"MICROMETER_PER_PIXEL_X={mpp * 2**number}",
            f"MICROMETER_PER_PIXEL_Y={mpp * 2**number}",
            f"IMAGE_CONCAT_FACTOR={min(number, 1)}",
            "IMAGE_FORMAT=JPEG",
            "IMAGE_FILL_COLOR_BGR=16777215",
            f"DIGITIZER_WIDTH={TILE_PX}",
            f"DIGITIZER_HEIGHT={TILE_PX}",
        ]
    return "\n".join(lines) + "\n"
