"""Background: where a region holds no tissue, and what the result shows there.

Decided cell by cell. A cell is a tile of the written file, however the region is cut into tiles for the network, so
that no output pixel depends on that cut. Boxes are in px of the region.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.imaging.bicubic import enlarge_bicubic
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import CUBIC_RADIUS, WHITE, Rgb
from wsisr.imaging.tiling import Tile
from wsisr.slides.region import SlideRegion
from wsisr.tissue import TissueMap, make_full_map
from wsisr.tissue.map import BoolMask, make_cell_edges

PixelOffsets: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BackgroundOptions:
    """What counts as tissue, and what the result shows elsewhere."""

    tissue: TissueMap = field(default_factory=make_full_map)
    white: bool = False
    """Pure white; otherwise the scanned background, enlarged by bicubic."""


@dataclass(frozen=True, eq=False, slots=True)
class BackgroundMask:
    """A grid of cells over a region, each tissue or background."""

    tissue: BoolMask
    """(rows, columns): which cells hold tissue."""
    cell_px: int
    """Side of a cell, in px of the region."""
    size: Size
    """Size of the region; the last cells of a row and of a column may be narrower."""
    receptive_field: int
    """Px around a cell that a network sees."""
    options: BackgroundOptions

    @classmethod
    def from_tissue(
        cls, region: SlideRegion, cell_px: int, receptive_field: int, options: BackgroundOptions
    ) -> BackgroundMask:
        """Return the cells of a region; a cell that touches tissue of the map is tissue."""
        readable = region.readable_box
        cells = options.tissue.mask_cells(readable.size, Box.from_size(region.size).relative_to(readable), cell_px)
        return cls(cells, cell_px, region.size, receptive_field, options)

    @property
    def skipped_share(self) -> float:
        """Share of the region's area that is background, 0 to 1."""
        heights, widths = (np.diff(make_cell_edges(0, px, self.cell_px)) for px in (self.size.height, self.size.width))
        return int(heights @ ~self.tissue @ widths) / self.size.pixel_count

    @property
    def description(self) -> str:
        """How much is background, how that was decided, and what is shown there."""
        tissue = self.options.tissue
        if not self.skipped_share:
            white = "; nothing is made white" if self.options.white else ""
            return f"none, for every tile of the result may hold tissue ({tissue.origin}){white}"
        shown = "white" if self.options.white else "bicubic"
        return f"{100 * self.skipped_share:.1f} % of the area without tissue, {tissue.origin}; {shown} there"

    def build_metadata(self) -> dict[str, str]:
        """Return what the file records of it, with a digest of the cells; empty where all is tissue."""
        digest = sha256(np.packbits(self.tissue).tobytes()).hexdigest()
        return {"background": self.description, "background sha256": digest} if self.skipped_share else {}

    def tissue_in(self, box: Box) -> BoolMask:
        """Return which of the cells that a box touches hold tissue; the box begins on the edge of a cell."""
        rows = slice(box.top // self.cell_px, -(-box.bottom // self.cell_px))
        return self.tissue[rows, box.left // self.cell_px : -(-box.right // self.cell_px)]

    def find_network_cells(self, tile: Tile, pixels: Rgb) -> BoolMask:
        """Return which cells of a tile's blend box need a network, given the pixels of its input box.

        These are the cells with tissue around which the network sees anything but pure white.
        """
        tissue = self.tissue_in(tile.blend_box)
        white: BoolMask = np.asarray(cv2.inRange(pixels, (WHITE,) * 3, (WHITE,) * 3)) > 0
        return tissue & ~self._blank_cells(tile, white) if white.any() else tissue

    def crop_needed(self, tile: Tile, network_cells: BoolMask) -> Box:
        """Return the part of a tile's input box on which the cells that need a network depend; at least one does."""
        rows, columns = (np.flatnonzero(network_cells.any(axis=axis)) for axis in (1, 0))
        top, bottom = int(rows[0]) * self.cell_px, int(rows[-1] + 1) * self.cell_px
        left, right = int(columns[0]) * self.cell_px, int(columns[-1] + 1) * self.cell_px
        cells = Box(left, top, right, bottom).translate(tile.blend_box.left, tile.blend_box.top)
        return cells.expand(self.receptive_field).intersection(tile.input_box)

    def fill_background(self, tile: Tile, pixels: Rgb, network_cells: BoolMask, enlarged: Rgb, scale: int) -> Rgb:
        """Return the tile's enlarged core, (h*scale, w*scale, 3), with background where no network was needed."""
        cells = self._core_cells(tile, network_cells)
        if cells.all():
            return enlarged
        background = self._background_pixels(tile, pixels, scale)
        if not cells.any():
            return background
        mask = expand_cells(cells, self.cell_px * scale, enlarged)
        return np.asarray(cv2.copyTo(enlarged, mask.view(np.uint8), background.copy()), np.uint8)

    def shows_source(self, tile: Tile, network_cells: BoolMask) -> BoolMask:
        """Return which cells of a tile's core show the scanned specimen: all, unless the background is made white."""
        return self._core_cells(tile, network_cells) | (not self.options.white)

    def comparable_pixels(self, tile: Tile, low: Rgb) -> BoolMask:
        """Return for which pixels of a core's input, (h, w), the result must agree with it: not where it is white."""
        cells = self.tissue_in(tile.core) | (not self.options.white)
        return expand_cells(cells, self.cell_px, low)

    def _core_cells(self, tile: Tile, cells: BoolMask) -> BoolMask:
        """Return the cells of a tile's core, of those of its blend box."""
        return cells[: -(-tile.core.height // self.cell_px), : -(-tile.core.width // self.cell_px)]

    def _background_pixels(self, tile: Tile, pixels: Rgb, scale: int) -> Rgb:
        """Return the tile's enlarged core as if all of it were background."""
        if self.options.white:
            return np.broadcast_to(np.uint8(WHITE), (tile.core.height * scale, tile.core.width * scale, 3))
        around = tile.core.expand(CUBIC_RADIUS).intersection(tile.input_box)
        crop = around.relative_to(tile.input_box)
        core = tile.core.relative_to(around) * scale
        return enlarge_bicubic(pixels[crop.rows, crop.columns], scale)[core.rows, core.columns]

    def _blank_cells(self, tile: Tile, white: BoolMask) -> BoolMask:
        """Return around which cells of a tile's blend box a network would see only white pixels."""
        outer, inner = tile.input_box, tile.blend_box
        sums = np.asarray(cv2.integral(white.view(np.uint8)))
        top, bottom = self._field_bounds(inner.top, inner.bottom, outer.top, outer.bottom)
        left, right = self._field_bounds(inner.left, inner.right, outer.left, outer.right)
        white_counts = sums[bottom][:, right] - sums[bottom][:, left] - sums[top][:, right] + sums[top][:, left]
        return np.asarray(white_counts == np.outer(bottom - top, right - left))

    def _field_bounds(self, start: int, end: int, first: int, last: int) -> tuple[PixelOffsets, PixelOffsets]:
        """Return along one axis where the receptive field of each cell from `start` to `end` begins and ends.

        Offsets from `first`; the fields are cut to the input box, `first` to `last`.
        """
        starts = np.arange(start, end, self.cell_px)
        ends = np.minimum(starts + self.cell_px + self.receptive_field, last)
        return np.maximum(starts - self.receptive_field, first) - first, ends - first


def expand_cells(flags: BoolMask, cell_px: int, image: Rgb) -> BoolMask:
    """Return one flag for each pixel of an image, from one for each cell."""
    height, width = image.shape[:2]
    return flags.repeat(cell_px, axis=0)[:height].repeat(cell_px, axis=1)[:, :width]


def describe_missing_tissue(choice: Path | str, background: str) -> str:
    """Return what is wrong where nothing is tissue, and what to look at; the request's `tissue` and `background`."""
    looked = "no tissue was found" if choice == "auto" else f"{choice}: marks no tissue"
    shown = "all white" if background == "white" else "bicubic, without the network"
    return f"{looked} in what is enlarged, so the result is {shown}: {advise_on_missing_tissue(choice)}"


def advise_on_missing_tissue(choice: Path | str) -> str:
    """Return what to look at if there is next to no tissue; `choice` is the request's `tissue`."""
    if choice == "auto":
        return "does the slide show tissue there? --save-mask FILE.png shows what was found, --tissue none takes all"
    drawing = ".geojson" in Path(choice).suffixes or Path(choice).suffix == ".json"
    needs = "are its coordinates px of level 0 (see --tissue-origin)" if drawing else "is its tissue not black"
    return f"is {choice} of this slide, and {needs}?"
