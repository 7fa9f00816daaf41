"""Blocks of a level: what is read and measured at a time. All boxes are in px of the low resolution unless said."""

from __future__ import annotations

from dataclasses import dataclass

from wsisr.errors import ConfigError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.metrics import SSIM_RADIUS_PX, UNSCORED_BORDER_PX
from wsisr.imaging.texture import TEXTURE_MARGIN_PX, TEXTURE_SQUARE_PX

CELL_PX = TEXTURE_SQUARE_PX
"""Side of a cell, in px of the high resolution, that is looked at for flatness and for texture."""

KERNEL_REACH = 3
"""Low-resolution px on each side whose high-resolution px Pillow's kernels mix when they shrink (Lanczos: 3 lobes)."""


JPEG_BLOCK_PX = 16
"""Side of the squares that a JPEG of colours at half resolution codes each for itself."""

JPEG_REACH = 2
"""Px beyond such a square that enlarging its colours again mixes in."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How much of a level is measured, and in blocks of what size. Scores of a whole level do not depend on it."""

    block_px: int = 512
    """Side of a block in px of the low resolution; a multiple of 64, so that no block cuts a flat cell."""
    limit_px: int = 64_000_000
    """High-resolution px beyond which an evenly spread part of the blocks stands for the level."""

    def __post_init__(self) -> None:
        if self.block_px < CELL_PX or self.block_px % CELL_PX:
            raise ConfigError(f"blocks of {self.block_px} px: give a multiple of {CELL_PX}")
        if self.limit_px < 1:
            raise ConfigError(f"a limit of {self.limit_px} px leaves nothing to evaluate")

    def blocks(self, low: Size, scale: int, reach: int) -> list[Block]:
        """The blocks to measure of an image of that size, each with `reach` px around it or the image's edge."""
        found = [Block(core, _around(core, low, self.block_px, reach)) for core in _cores(low, self.block_px)]
        if (low * scale).pixel_count <= self.limit_px:
            return found
        most = max(1, self.limit_px // (self.block_px * scale) ** 2)
        # A narrow rest at the right or the bottom may have nothing inside the border.
        narrow = min(self.block_px // 2, low.width, low.height)
        full = [block for block in found if min(block.core.width, block.core.height) >= narrow]
        return _spread(full, most, self.block_px)


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a level that is measured in one go."""

    core: Box
    """What is measured here and in no other block."""
    source: Box
    """What the upscaler gets: the core with the context that makes the result that of the whole image."""


@dataclass(frozen=True, slots=True)
class Regions:
    """Where in a block which score is taken, each box inside the block's source; high resolution but for `low`."""

    values: Box
    """Pixels whose error counts."""
    windows: Box
    """Pixels whose structural similarity counts, with the reach of its window around them."""
    cells: Box
    """Whole cells, looked at for flatness and for texture."""
    textures: Box
    """The cells, with the margin that their texture needs."""
    low: Box
    """Low-resolution pixels whose consistency counts."""


def regions(block: Block, low: Size, scale: int) -> Regions:
    """Of all blocks together: every pixel of the level inside the border once, and no other."""
    core, inner = block.core * scale, grown(Box.from_size(low * scale), -UNSCORED_BORDER_PX)
    values = core.intersection(inner)
    centres = core.intersection(grown(inner, -SSIM_RADIUS_PX))
    measured = block.core.intersection(grown(Box.from_size(low), -_per(UNSCORED_BORDER_PX, scale)))
    origin = block.source * scale
    cells = _whole_cells(values)
    return Regions(
        values=values.relative_to(origin),
        windows=grown(centres, SSIM_RADIUS_PX).relative_to(origin),
        cells=cells.relative_to(origin),
        textures=grown(cells, TEXTURE_MARGIN_PX).relative_to(origin),
        low=measured.relative_to(block.source),
    )


def ssim_reach(scale: int) -> int:
    """Low-resolution px around a block whose enlargement the windows at its edge look at."""
    return _per(SSIM_RADIUS_PX, scale)


def grown(box: Box, px: int) -> Box:
    """The box with so many pixels more on each side; fewer if negative, down to an empty box."""
    left, top = box.left - px, box.top - px
    return Box(left, top, max(left, box.right + px), max(top, box.bottom + px))


def in_jpeg_blocks(box: Box) -> Box:
    """The whole squares of a JPEG that tell all about a box, with one more around them, which may be spoilt."""
    wide, step = grown(box, JPEG_BLOCK_PX + JPEG_REACH), JPEG_BLOCK_PX
    return Box(wide.left // step, wide.top // step, _per(wide.right, step), _per(wide.bottom, step)) * step


def _per(px: int, scale: int) -> int:
    """Low-resolution px that cover so many high-resolution px."""
    return -(-px // scale)


def _whole_cells(box: Box) -> Box:
    """The cells of a grid over the whole level that lie wholly in a box."""
    left, top = _per(box.left, CELL_PX) * CELL_PX, _per(box.top, CELL_PX) * CELL_PX
    right, bottom = box.right // CELL_PX * CELL_PX, box.bottom // CELL_PX * CELL_PX
    return Box(left, top, max(left, right), max(top, bottom))


def _cores(size: Size, step: int) -> list[Box]:
    whole = Box.from_size(size)
    lefts, tops = range(0, size.width, step), range(0, size.height, step)
    return [Box(left, top, left + step, top + step).intersection(whole) for top in tops for left in lefts]


def _around(core: Box, size: Size, step: int, reach: int) -> Box:
    """A box of the same size for all blocks, moved into the image where it would stick out; upscalers like one size."""
    width, height = min(size.width, step + 2 * reach), min(size.height, step + 2 * reach)
    left = max(0, min(core.left - reach, size.width - width))
    top = max(0, min(core.top - reach, size.height - height))
    return Box(left, top, left + width, top + height)


def _spread(blocks: list[Block], most: int, step: int) -> list[Block]:
    """At most so many, evenly along a curve that visits the plane quarter by quarter: no stripes, no clusters."""
    along = sorted(blocks, key=lambda block: _morton(block.core.left // step, block.core.top // step))
    if len(along) <= most:
        return blocks
    return [along[(2 * i + 1) * len(along) // (2 * most)] for i in range(most)]


def _morton(x: int, y: int) -> int:
    """The bits of both, interleaved: the place of a grid point on the Z-order curve."""
    return sum(((x >> bit & 1) << 2 * bit) | ((y >> bit & 1) << 2 * bit + 1) for bit in range(32))
