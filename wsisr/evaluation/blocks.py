"""Blocks of a level: what is read and measured at a time. All boxes are in px of the low resolution unless said."""

from __future__ import annotations

from dataclasses import dataclass

from wsisr.errors import ConfigError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.metrics import SSIM_RADIUS_PX, UNSCORED_BORDER_PX
from wsisr.imaging.texture import TEXTURE_MARGIN_PX, TEXTURE_SQUARE_PX

CELL_PX = TEXTURE_SQUARE_PX
"""Side of a cell, in px of the high resolution, that is looked at for flatness and for texture."""

FILTER_RADIUS_PX = 3
"""Low-resolution px on each side whose high-resolution px Pillow's kernels mix when they shrink (Lanczos: 3 lobes)."""


JPEG_BLOCK_PX = 16
"""Side of the squares that a JPEG of colours at half resolution codes each for itself."""

JPEG_UPSAMPLING_RADIUS_PX = 2
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

    def choose_blocks(self, low: Size, scale: int, halo_px: int) -> list[EvaluationBlock]:
        """The blocks to measure of an image of that size, each with `reach` px around it or the image's edge."""
        found = [
            EvaluationBlock(core, _expand_core(core, low, self.block_px, halo_px))
            for core in _list_cores(low, self.block_px)
        ]
        if (low * scale).pixel_count <= self.limit_px:
            return found
        most = max(1, self.limit_px // (self.block_px * scale) ** 2)
        # A narrow rest at the right or the bottom may have nothing inside the border.
        narrow = min(self.block_px // 2, low.width, low.height)
        full = [block for block in found if min(block.core.width, block.core.height) >= narrow]
        return _choose_evenly(full, most, self.block_px)


@dataclass(frozen=True, slots=True)
class EvaluationBlock:
    """A part of a level that is measured in one go."""

    core: Box
    """What is measured here and in no other block."""
    input_box: Box
    """What the upscaler gets: the core with the context that makes the result that of the whole image."""


@dataclass(frozen=True, slots=True)
class ScoreBoxes:
    """Where in a block which score is taken, each box inside the block's source; high resolution but for `low`."""

    errors: Box
    """Pixels whose error counts."""
    ssim: Box
    """Pixels whose structural similarity counts, with the reach of its window around them."""
    cells: Box
    """Whole cells, looked at for flatness and for texture."""
    textures: Box
    """The cells, with the margin that their texture needs."""
    consistency: Box
    """Low-resolution pixels whose consistency counts."""


def find_score_boxes(block: EvaluationBlock, low: Size, scale: int) -> ScoreBoxes:
    """Of all blocks together: every pixel of the level inside the border once, and no other."""
    core, inner = block.core * scale, resize_box(Box.from_size(low * scale), -UNSCORED_BORDER_PX)
    values = core.intersection(inner)
    centres = core.intersection(resize_box(inner, -SSIM_RADIUS_PX))
    measured = block.core.intersection(resize_box(Box.from_size(low), -_divide_rounding_up(UNSCORED_BORDER_PX, scale)))
    origin = block.input_box * scale
    cells = _crop_to_cells(values)
    return ScoreBoxes(
        errors=values.relative_to(origin),
        ssim=resize_box(centres, SSIM_RADIUS_PX).relative_to(origin),
        cells=cells.relative_to(origin),
        textures=resize_box(cells, TEXTURE_MARGIN_PX).relative_to(origin),
        consistency=measured.relative_to(block.input_box),
    )


def ssim_halo_px(scale: int) -> int:
    """Low-resolution px around a block whose enlargement the windows at its edge look at."""
    return _divide_rounding_up(SSIM_RADIUS_PX, scale)


def resize_box(box: Box, px: int) -> Box:
    """The box with so many pixels more on each side; fewer if negative, down to an empty box."""
    left, top = box.left - px, box.top - px
    return Box(left, top, max(left, box.right + px), max(top, box.bottom + px))


def expand_to_jpeg_blocks(box: Box) -> Box:
    """The whole squares of a JPEG that tell all about a box, with one more around them, which may be spoilt."""
    wide, step = resize_box(box, JPEG_BLOCK_PX + JPEG_UPSAMPLING_RADIUS_PX), JPEG_BLOCK_PX
    return (
        Box(
            wide.left // step,
            wide.top // step,
            _divide_rounding_up(wide.right, step),
            _divide_rounding_up(wide.bottom, step),
        )
        * step
    )


def _divide_rounding_up(px: int, scale: int) -> int:
    """Low-resolution px that cover so many high-resolution px."""
    return -(-px // scale)


def _crop_to_cells(box: Box) -> Box:
    """The cells of a grid over the whole level that lie wholly in a box."""
    left, top = _divide_rounding_up(box.left, CELL_PX) * CELL_PX, _divide_rounding_up(box.top, CELL_PX) * CELL_PX
    right, bottom = box.right // CELL_PX * CELL_PX, box.bottom // CELL_PX * CELL_PX
    return Box(left, top, max(left, right), max(top, bottom))


def _list_cores(size: Size, step: int) -> list[Box]:
    whole = Box.from_size(size)
    lefts, tops = range(0, size.width, step), range(0, size.height, step)
    return [Box(left, top, left + step, top + step).intersection(whole) for top in tops for left in lefts]


def _expand_core(core: Box, size: Size, step: int, reach: int) -> Box:
    """A box of the same size for all blocks, moved into the image where it would stick out; upscalers like one size."""
    width, height = min(size.width, step + 2 * reach), min(size.height, step + 2 * reach)
    left = max(0, min(core.left - reach, size.width - width))
    top = max(0, min(core.top - reach, size.height - height))
    return Box(left, top, left + width, top + height)


def _choose_evenly(blocks: list[EvaluationBlock], most: int, step: int) -> list[EvaluationBlock]:
    """At most so many, evenly along a curve that visits the plane quarter by quarter: no stripes, no clusters."""
    along = sorted(blocks, key=lambda block: _morton_code(block.core.left // step, block.core.top // step))
    if len(along) <= most:
        return blocks
    return [along[(2 * i + 1) * len(along) // (2 * most)] for i in range(most)]


def _morton_code(x: int, y: int) -> int:
    """The bits of both, interleaved: the place of a grid point on the Z-order curve."""
    return sum(((x >> bit & 1) << 2 * bit) | ((y >> bit & 1) << 2 * bit + 1) for bit in range(32))
