"""The tiles of one slide that a viewer asks for: stored ones as they are, levels between them computed.

A stored level is shown in its own tiles, undecoded where they are JPEGs, else as PNG without loss. Where two levels are
further apart than twice, and below the coarsest one, the page gets levels of half the size each, averaged from the one
above, as JPEG.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import imagecodecs
import numpy as np

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, halve_image
from wsisr.slides import Slide

TILE_PX = 512
"""Side of the tiles of levels that are not shown in their stored ones."""

STORED_TILE_PX = range(128, 1025)
"""Sides of stored tiles that a page is drawn from; smaller ones are too many, larger ones too slow."""

COARSEST_PX = 512
"""The coarsest level has at most that many px along either side, and no less than half of it where the slide has."""

_COMPUTED_QUALITY = 90
"""JPEG quality of computed levels, with full colour resolution."""

_CACHED_TILES = 64
"""Decoded tiles of computed levels kept in memory, of 0.8 MB each."""

JPEG, PNG = "image/jpeg", "image/png"


@dataclass(frozen=True, slots=True)
class ViewLevel:
    """One resolution as the page sees it."""

    size: Size
    downsample: float
    """Level-0 px per px of this level."""
    tile: Size
    stored_level: int | None
    """Number of the slide's level; None for a computed one."""
    is_jpeg: bool
    """Whether its tiles are JPEGs, but for a few; else PNG."""

    @property
    def columns(self) -> int:
        return -(-self.size.width // self.tile.width)

    @property
    def rows(self) -> int:
        return -(-self.size.height // self.tile.height)


@dataclass(frozen=True, slots=True)
class EncodedTile:
    """One tile as the browser gets it."""

    data: bytes
    media_type: str


def plan_view_levels(slide: Slide) -> tuple[ViewLevel, ...]:
    """Return the levels of the page, from fine to coarse; each has at most twice the px along a side of the next."""
    levels: list[ViewLevel] = []
    for number, level in enumerate(slide.info.levels):
        if levels and max(levels[-1].size.width, levels[-1].size.height) <= COARSEST_PX // 2:
            break  # a screen needs no smaller ones, and the overview would be drawn from a few pixels
        while levels and level.downsample >= 2.8 * levels[-1].downsample:
            levels.append(_halve_level(levels[-1]))
        if not levels or level.downsample > 1.05 * levels[-1].downsample:
            levels.append(_plan_stored_level(slide, number))
    while max(levels[-1].size.width, levels[-1].size.height) > COARSEST_PX:
        levels.append(_halve_level(levels[-1]))
    return tuple(levels)


def _plan_stored_level(slide: Slide, number: int) -> ViewLevel:
    level, tile = slide.info.levels[number], slide.get_jpeg_tile_size(number)
    if tile is not None and tile.width in STORED_TILE_PX and tile.height in STORED_TILE_PX:
        return ViewLevel(level.size, level.downsample, tile, number, is_jpeg=True)
    return ViewLevel(level.size, level.downsample, Size(TILE_PX, TILE_PX), number, is_jpeg=False)


def _halve_level(finer: ViewLevel) -> ViewLevel:
    size = Size(-(-finer.size.width // 2), -(-finer.size.height // 2))
    return ViewLevel(size, finer.downsample * 2, Size(TILE_PX, TILE_PX), None, is_jpeg=True)


class TilePyramid:
    """The tiles of a slide, for several threads. Memory: a few dozen decoded tiles, besides the slide's own cache."""

    def __init__(self, slide: Slide) -> None:
        self._slide = slide
        self.levels = plan_view_levels(slide)
        self._compute_cached = lru_cache(maxsize=_CACHED_TILES)(self._compute_tile)
        self._claims: dict[tuple[int, int, int], Lock] = {}
        self._claims_lock = Lock()

    def read_tile(self, number: int, column: int, row: int) -> EncodedTile | None:
        """Return a tile of a level of the page; None where it has no such tile. Raises `SlideError`."""
        if not 0 <= number < len(self.levels):
            return None
        level = self.levels[number]
        if not (0 <= column < level.columns and 0 <= row < level.rows):
            return None
        if level.stored_level is None:
            return EncodedTile(_encode_jpeg(self._get_computed_tile(number, column, row)), JPEG)
        if level.is_jpeg:
            stored = self._slide.read_jpeg_tile(level.stored_level, column, row)
            if stored is not None:
                return EncodedTile(stored, JPEG)
        return EncodedTile(encode_png(self._slide.read(_locate_tile(level, column, row), level.stored_level)), PNG)

    def read_thumbnail(self) -> EncodedTile:
        """Return the whole coarsest level as JPEG."""
        number = len(self.levels) - 1
        return EncodedTile(_encode_jpeg(self._read_box(number, Box.from_size(self.levels[number].size))), JPEG)

    def _get_computed_tile(self, number: int, column: int, row: int) -> Rgb:
        """Return a tile of a computed level. Of threads that want the same one, the first computes it: the coarsest
        tile of a slide of one level takes all of its pixels, and overview and page want it at the same time."""
        place = (number, column, row)
        with self._claims_lock:
            claim = self._claims.setdefault(place, Lock())
        with claim:
            tile = self._compute_cached(*place)
        with self._claims_lock:
            self._claims.pop(place, None)
        return tile

    def _compute_tile(self, number: int, column: int, row: int) -> Rgb:
        """Average a tile from four times as many pixels of the next finer level."""
        level = self.levels[number]
        box = _locate_tile(level, column, row)
        inside = box.intersection(Box.from_size(level.size))
        finer = (inside * 2).intersection(Box.from_size(self.levels[number - 1].size))
        pixels = np.full((box.height, box.width, 3), 255, np.uint8)
        pixels[: inside.height, : inside.width] = halve_image(self._read_box(number - 1, finer))
        return pixels

    def _read_box(self, number: int, box: Box) -> Rgb:
        """Read a box within a level of the page."""
        level = self.levels[number]
        if level.stored_level is not None:
            return self._slide.read(box, level.stored_level)
        pixels = np.empty((box.height, box.width, 3), np.uint8)
        for row in range(box.top // TILE_PX, -(-box.bottom // TILE_PX)):
            for column in range(box.left // TILE_PX, -(-box.right // TILE_PX)):
                place = _locate_tile(level, column, row)
                common = place.intersection(box)
                target, source = common.relative_to(box), common.relative_to(place)
                tile = self._get_computed_tile(number, column, row)
                pixels[target.rows, target.columns] = tile[source.rows, source.columns]
        return pixels


def _locate_tile(level: ViewLevel, column: int, row: int) -> Box:
    return Box.from_size(level.tile).translate(column * level.tile.width, row * level.tile.height)


def _encode_jpeg(pixels: Rgb) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(pixels, level=_COMPUTED_QUALITY, subsampling="444"))


def encode_png(pixels: Rgb) -> bytes:
    """(h, w, 3) or, with opacity, (h, w, 4) to a PNG, quickly rather than small."""
    return bytes(imagecodecs.png_encode(pixels, level=1))
