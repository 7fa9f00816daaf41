"""How an image is cut into tiles. All in px of the image that is read; tiles run row by row.

Along one axis, tile i completes the block [i*step, (i+1)*step) and reaches `feather` px further, where it fades into
tile i+1. Around both lies a `margin` that is read and thrown away. Windows that would pass the image's border are cut
off there: a network sees the true border of the slide and never the false border of a tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wsisr.imaging.geometry import Box, Size


@dataclass(frozen=True, slots=True)
class Tiling:
    """How large tiles are and how they overlap."""

    step: int
    """Side of the block that a tile completes."""
    margin: int
    """Read on each side and thrown away: exact once it covers the network's context."""
    feather: int = 0
    """Width of the strip in which two neighbours are blended; at most `step`."""
    unit: int = 1
    """Windows are widened to a multiple of it, as far as the image goes."""

    def __post_init__(self) -> None:
        if self.step < 1 or self.margin < 0 or not 0 <= self.feather <= self.step or self.unit < 1:
            raise ValueError(f"{self} cannot tile anything")

    @classmethod
    def overlapping(cls, step: int, overlap: int, context: int, unit: int = 1) -> Tiling:
        """Neighbouring windows overlap by `overlap` px: no blend where that is exact, else half of it fades.

        A seam cannot be seen where both sides of it were computed from the same pixels; blending is for what is left.
        """
        if overlap >= 2 * context:
            return cls(step, margin=context, unit=unit)
        feather = min(overlap // 2, step)
        if (overlap - feather) % 2:  # the rest is margin, alike on both sides
            feather += 1 if feather < step else -1
        return cls(step, margin=(overlap - feather) // 2, feather=feather, unit=unit)


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: what it completes, what it contributes to, what is read for it."""

    column: int
    row: int
    block: Box
    reach: Box
    """The block and the feathers to the right of it and below."""
    window: Box


@dataclass(frozen=True, slots=True)
class TileGrid:
    """All tiles of an image."""

    image: Size
    tiling: Tiling
    readable: Box | None = None
    """What windows may hold; the image by default. A region of a slide can be read beyond its own border."""

    @property
    def columns(self) -> int:
        return -(-self.image.width // self.tiling.step)

    @property
    def rows(self) -> int:
        return -(-self.image.height // self.tiling.step)

    def __len__(self) -> int:
        return self.columns * self.rows

    def __iter__(self) -> Iterator[Tile]:
        return (self.tile(column, row) for row in range(self.rows) for column in range(self.columns))

    def tile(self, column: int, row: int) -> Tile:
        step, margin = self.tiling.step, self.tiling.margin
        whole = Box.of(self.image)
        readable = self.readable or whole
        left, top = column * step, row * step
        side = step + self.tiling.feather
        reach = Box(left, top, left + side, top + side).intersection(whole)
        return Tile(
            column=column,
            row=row,
            block=Box(left, top, left + step, top + step).intersection(whole),
            reach=reach,
            window=reach.grown(margin).intersection(readable).widened(self.tiling.unit, readable),
        )

    @property
    def read_pixels(self) -> int:
        """Pixels that all windows together hold; over `image.pixels` it is the waste of overlapping."""
        widths = sum(self.tile(column, 0).window.width for column in range(self.columns))
        heights = sum(self.tile(0, row).window.height for row in range(self.rows))
        return widths * heights
