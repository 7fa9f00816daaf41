"""Background: where a source holds no tissue, and what the result shows there.

Decided cell by cell; a cell is a tile of the written file, whatever the tiles of the work are, so that no pixel depends
on how the source is cut. Boxes are in px of the source.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.imaging.bicubic import bicubic
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import CUBIC_REACH, WHITE, Rgb
from wsisr.imaging.tiling import Tile
from wsisr.slides.region import Source
from wsisr.tissue import TissueMap, everywhere
from wsisr.tissue.map import Flags, edges

Places: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Background:
    """What is asked for."""

    tissue: TissueMap = field(default_factory=everywhere)
    white: bool = False
    """Pure white instead of what was scanned there, enlarged by bicubic."""


@dataclass(frozen=True, eq=False, slots=True)
class Cells:
    """A source laid out in cells, and what becomes of each."""

    tissue: Flags
    """(rows, columns): which cells hold some."""
    side: int
    """Of a cell, in px of the source."""
    size: Size
    """Of the source: the last cells of a row and of a column may be narrower."""
    context: int
    """Px around a cell that a network looks at."""
    background: Background

    @classmethod
    def of(cls, source: Source, side: int, context: int, background: Background) -> Cells:
        whole = source.readable
        part = Box.of(source.size).seen_from(whole)
        return cls(background.tissue.cells(whole.size, part, side), side, source.size, context, background)

    @property
    def skipped(self) -> float:
        """Share of the area, 0 to 1, that the map leaves to the background."""
        height, width = (np.diff(edges(0, px, self.side)) for px in (self.size.height, self.size.width))
        return int(height @ ~self.tissue @ width) / self.size.pixels

    @property
    def said(self) -> str:
        """Which share was left out, why, and what is there instead."""
        if not self.skipped:
            white = "; nothing is made white" if self.background.white else ""
            return f"none, for every tile of the result holds tissue ({self.background.tissue.origin}){white}"
        shown = "white" if self.background.white else "bicubic"
        return f"{100 * self.skipped:.1f} % of the area without tissue, {self.background.tissue.origin}; {shown} there"

    def note(self) -> dict[str, str]:
        """What the file says of it, the decision itself as a digest; nothing where all is tissue."""
        digest = sha256(np.packbits(self.tissue).tobytes()).hexdigest()
        return {"background": self.said, "background sha256": digest} if self.skipped else {}

    def within(self, box: Box) -> Flags:
        """Of the cells that a box touches; it begins on the edge of one."""
        rows = slice(box.top // self.side, -(-box.bottom // self.side))
        return self.tissue[rows, box.left // self.side : -(-box.right // self.side)]

    def kept(self, tile: Tile, window: Rgb) -> Flags:
        """Which cells of a tile's reach a network is needed for: tissue, with something to see around it."""
        flags = self.within(tile.reach)
        white: Flags = np.asarray(cv2.inRange(window, (WHITE,) * 3, (WHITE,) * 3)) > 0
        return flags & ~self._blank(tile, white) if white.any() else flags

    def needed(self, tile: Tile, kept: Flags) -> Box:
        """The part of a tile's window on which a network's pixels depend in the cells that are kept, at least one."""
        down, across = (np.flatnonzero(kept.any(axis=axis)) for axis in (1, 0))
        rows, columns = ((int(cells[0]) * self.side, int(cells[-1] + 1) * self.side) for cells in (down, across))
        cells = Box(columns[0], rows[0], columns[1], rows[1]).moved(tile.reach.left, tile.reach.top)
        return cells.grown(self.context).intersection(tile.window)

    def painted(self, tile: Tile, window: Rgb, kept: Flags, enlarged: Rgb) -> Rgb:
        """A finished block, (h, w, 3), with the background where no network was needed."""
        kept = self._of_block(tile, kept)
        if kept.all():
            return enlarged
        scale = enlarged.shape[0] // tile.block.height
        plain = self._plain(tile, window, scale)
        if not kept.any():
            return plain
        mask = spread(kept, self.side * scale, enlarged)
        return np.asarray(cv2.copyTo(enlarged, mask.view(np.uint8), plain.copy()), np.uint8)

    def shown(self, tile: Tile, kept: Flags) -> Flags:
        """Which cells of a tile's block show what the source shows: all, or where the rest is white, those kept."""
        return self._of_block(tile, kept) | (not self.background.white)

    def measurable(self, tile: Tile, low: Rgb) -> Flags:
        """(h, w): which pixels of a block's input the result is meant to agree with."""
        flags = self.within(tile.block) | (not self.background.white)
        return spread(flags, self.side, low)

    def _of_block(self, tile: Tile, flags: Flags) -> Flags:
        """Of the cells of a tile's reach, those of its block."""
        return flags[: -(-tile.block.height // self.side), : -(-tile.block.width // self.side)]

    def _plain(self, tile: Tile, window: Rgb, scale: int) -> Rgb:
        if self.background.white:
            return np.broadcast_to(np.uint8(WHITE), (tile.block.height * scale, tile.block.width * scale, 3))
        around = tile.block.grown(CUBIC_REACH).intersection(tile.window)
        part = around.seen_from(tile.window)
        inner = tile.block.seen_from(around) * scale
        return bicubic(window[part.rows, part.columns], scale)[inner.rows, inner.columns]

    def _blank(self, tile: Tile, white: Flags) -> Flags:
        """Which cells of a tile's reach have no pixel but white in sight of a network."""
        sums = np.asarray(cv2.integral(white.view(np.uint8)))
        top, bottom = self._in_sight(tile.reach.top, tile.reach.bottom, tile.window.top, tile.window.bottom)
        left, right = self._in_sight(tile.reach.left, tile.reach.right, tile.window.left, tile.window.right)
        found = sums[bottom][:, right] - sums[bottom][:, left] - sums[top][:, right] + sums[top][:, left]
        return np.asarray(found == np.outer(bottom - top, right - left))

    def _in_sight(self, start: int, end: int, first: int, last: int) -> tuple[Places, Places]:
        """Along an axis, where what a network sees of each cell from start to end begins and ends, in a window."""
        starts = np.arange(start, end, self.side)
        ends = np.minimum(starts + self.side + self.context, last)
        return np.maximum(starts - self.context, first) - first, ends - first


def spread(flags: Flags, side: int, image: Rgb) -> Flags:
    """A flag a cell to a flag a pixel of an image of these cells."""
    height, width = image.shape[:2]
    return flags.repeat(side, axis=0)[:height].repeat(side, axis=1)[:, :width]
