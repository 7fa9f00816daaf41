"""The grid of tiles that covers an image, row by row. All in px of the image that is read.

Along one axis, tile i completes the core [i*core_px, (i+1)*core_px) and extends `feather_px` further, where it fades
into tile i+1. Around both lies a halo of `halo_px` that is read, upscaled and discarded. Input boxes are cut off at the
image's border: a network sees the true border of the slide, never the artificial border of a tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wsisr.imaging.geometry import Box, Size


@dataclass(frozen=True, slots=True)
class Tiling:
    """Size of tiles and their overlap."""

    core_px: int
    """Side of the square core that a tile completes."""
    halo_px: int
    """Read on each side and discarded; tiling changes no pixel once it covers the network's receptive field."""
    feather_px: int = 0
    """Width of the strip in which two neighbours are blended; at most `core_px`."""
    width_multiple: int = 1
    """Input boxes are widened to a multiple of it, as far as the image extends."""
    cell_px: int = 1
    """Input boxes begin on multiples of it, counted from the edge of what can be read; see `UpscalerInfo.cell_px`."""

    def __post_init__(self) -> None:
        lengths = self.core_px, self.width_multiple, self.cell_px
        if min(lengths) < 1 or self.halo_px < 0 or not 0 <= self.feather_px <= self.core_px:
            raise ValueError(f"{self} cannot tile anything")

    @classmethod
    def from_overlap(
        cls, core_px: int, overlap_px: int, receptive_field: int, *, width_multiple: int = 1, cell_px: int = 1
    ) -> Tiling:
        """Return the tiling whose neighbouring input boxes overlap by `overlap_px`.

        If the overlap covers the receptive field, both sides of a seam are computed from the same pixels: no blending
        is needed, and less than `overlap_px` may be read. Otherwise half of the overlap is blended.
        """
        if overlap_px >= 2 * receptive_field:
            return cls(core_px, halo_px=receptive_field, width_multiple=width_multiple, cell_px=cell_px)
        feather = min(overlap_px // 2, core_px)
        if (overlap_px - feather) % 2:  # the rest is halo, the same on both sides
            feather += 1 if feather < core_px else -1
        return cls(core_px, (overlap_px - feather) // 2, feather, width_multiple, cell_px)

    def fit_input_box(self, box: Box, readable: Box) -> Box:
        """Return the box widened to the lengths that input boxes have, within what can be read."""
        widened = box.align_to(self.cell_px, readable).widen_to_multiple(self.width_multiple, readable)
        return widened.align_to(self.cell_px, readable)  # at the right edge it may have been widened to the left


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile of a grid: the pixels that it completes, contributes to, and is computed from."""

    column: int
    row: int
    core: Box
    blend_box: Box
    """The core and the feathers to the right of it and below."""
    input_box: Box
    """The blend box and the halo around it: the pixels that are read."""


@dataclass(frozen=True, slots=True)
class TileGrid:
    """All tiles of an image."""

    image: Size
    tiling: Tiling
    readable_box: Box | None = None
    """Limit of input boxes, the image by default: a region of a slide can be read beyond its own border."""

    @property
    def columns(self) -> int:
        return -(-self.image.width // self.tiling.core_px)

    @property
    def rows(self) -> int:
        return -(-self.image.height // self.tiling.core_px)

    def __len__(self) -> int:
        return self.columns * self.rows

    def __iter__(self) -> Iterator[Tile]:
        return (self.tile_at(column, row) for row in range(self.rows) for column in range(self.columns))

    def number_of(self, tile: Tile) -> int:
        """Return a tile's place in the order of the grid, from 0."""
        return tile.row * self.columns + tile.column

    def tile_at(self, column: int, row: int) -> Tile:
        step, margin = self.tiling.core_px, self.tiling.halo_px
        whole = Box.from_size(self.image)
        readable = self.readable_box or whole
        left, top = column * step, row * step
        side = step + self.tiling.feather_px
        reach = Box(left, top, left + side, top + side).intersection(whole)
        return Tile(
            column=column,
            row=row,
            core=Box(left, top, left + step, top + step).intersection(whole),
            blend_box=reach,
            input_box=self.tiling.fit_input_box(reach.expand(margin).intersection(readable), readable),
        )

    @property
    def input_pixel_count(self) -> int:
        """Pixels of all input boxes together; divided by `image.pixel_count` it is the overhead of overlapping."""
        total_width = sum(self.tile_at(column, 0).input_box.width for column in range(self.columns))
        total_height = sum(self.tile_at(0, row).input_box.height for row in range(self.rows))
        return total_width * total_height
