"""Slides of any size, made of one small real slide whose tiles are repeated: they cost a file, and no memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import open_slide

TILE_PX, QUALITY, MPP = 256, 90, 0.5
GLASS = (242, 241, 244)
"""What the bare glass of a brightfield scan looks like."""


def tissue(slide: Path) -> list[list[bytes]]:
    """Whole tiles of a slide's level 0, encoded, row by row."""
    with open_slide(slide, estimate=True) as opened:
        size = opened.info.size
        return [
            [_jpeg(opened.read(Box(left, top, left + TILE_PX, top + TILE_PX), 0)) for left in _starts(size.width)]
            for top in _starts(size.height)
        ]


def glass() -> bytes:
    """A tile without tissue, with a scanner's grain."""
    grain = np.random.default_rng(0).normal(0, 1, (TILE_PX, TILE_PX, 3))
    return _jpeg(np.clip(np.array(GLASS) + grain, 0, 255).astype(np.uint8))


def repeated(path: Path, size: Size, pattern: Sequence[Sequence[bytes]], share: float = 1.0) -> Path:
    """A tiled JPEG TIFF of a size in whole tiles: the pattern on that share of its columns, glass on the rest."""
    columns, rows, empty = size.width // TILE_PX, size.height // TILE_PX, glass()

    def tiles() -> Iterator[bytes]:
        for row in range(rows):
            line = pattern[row % len(pattern)]
            for column in range(columns):
                yield line[column % len(line)] if column < round(share * columns) else empty

    tifffile.imwrite(
        path,
        tiles(),
        shape=(size.height, size.width, 3),
        dtype=np.uint8,
        tile=(TILE_PX, TILE_PX),
        photometric="ycbcr",
        subsampling=(2, 2),
        compression="jpeg",
        resolution=(1e4 / MPP, 1e4 / MPP),
        resolutionunit="CENTIMETER",
        metadata=None,
        bigtiff=True,
    )
    return path


def whole_tiles(pixels: float) -> Size:
    """About square, of at least so many pixels."""
    side = TILE_PX * -(-int(pixels**0.5) // TILE_PX)
    return Size(side, TILE_PX * max(1, -(-int(pixels) // (side * TILE_PX))))


def _starts(length: int) -> range:
    return range(0, length - TILE_PX + 1, TILE_PX)


def _jpeg(pixels: Rgb) -> bytes:
    return bytes(
        imagecodecs.jpeg8_encode(
            np.ascontiguousarray(pixels), level=QUALITY, colorspace="rgb", outcolorspace="ycbcr", subsampling="420"
        )
    )
