"""Blocks of a level that are measured one after another. Boxes are in low-resolution px unless noted otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from wsisr.errors import ConfigError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.metrics import SSIM_RADIUS_PX, UNSCORED_BORDER_PX
from wsisr.imaging.ring_correlation import RING_WINDOW_PX
from wsisr.imaging.texture import TEXTURE_MARGIN_PX, TEXTURE_SQUARE_PX

CELL_PX = TEXTURE_SQUARE_PX
"""Side of the cells in which flatness and texture are measured, in high-resolution px."""

FILTER_RADIUS_PX = 3
"""Radius of the widest filter that shrinks the truth (Lanczos: 3 lobes), in low-resolution px."""

JPEG_BLOCK_PX = 16
"""Side of the squares that a JPEG with 4:2:0 chroma subsampling encodes independently of each other."""

JPEG_UPSAMPLING_RADIUS_PX = 2
"""Pixels beyond such a square that the decoder mixes in when it enlarges the chroma channels."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """The part of a level that is measured, and the block size. Scores of a whole level do not depend on it."""

    block_px: int = 512
    """Side of a block in px of the low resolution; a multiple of 64, so that no block cuts a flat cell."""
    limit_px: int = 64_000_000
    """High-resolution px of the largest level that is measured as a whole; of others, evenly spread blocks are."""

    def __post_init__(self) -> None:
        if self.block_px < CELL_PX or self.block_px % CELL_PX:
            raise ConfigError(f"blocks of {self.block_px} px cannot be evaluated; give a multiple of {CELL_PX}")
        if self.limit_px < 1:
            raise ConfigError(f"a limit of {self.limit_px} px leaves nothing to evaluate; give 1 or more")

    def choose_blocks(self, low: Size, scale: int, halo_px: int, cell_px: int = 1) -> list[EvaluationBlock]:
        """Return the blocks to measure of an image of that size, each with a halo that ends at the image's edge.

        Input boxes begin on multiples of `cell_px`.
        """
        cores, whole = _list_cores(low, self.block_px), Box.from_size(low)
        input_boxes = (_expand_core(core, low, self.block_px, halo_px).align_to(cell_px, whole) for core in cores)
        blocks = list(map(EvaluationBlock, cores, input_boxes))
        if (low * scale).pixel_count <= self.limit_px:
            return blocks
        count = max(1, self.limit_px // (self.block_px * scale) ** 2)
        # A narrow remainder at the right or the bottom may have nothing inside the unscored border.
        min_side = min(self.block_px // 2, low.width, low.height)
        candidates = [block for block in blocks if min(block.core.width, block.core.height) >= min_side]
        return _choose_evenly(candidates, count, self.block_px)


@dataclass(frozen=True, slots=True)
class EvaluationBlock:
    """A part of a level that is measured at once."""

    core: Box
    """The pixels that are measured in this block and in no other one."""
    input_box: Box
    """The upscaler's input: the core with a halo, so that the result equals that of the whole image."""


@dataclass(frozen=True, slots=True)
class ScoreBoxes:
    """The areas of a block's scores, relative to its input box; in high-resolution px except `consistency`."""

    errors: Box
    """Pixels whose squared error is summed up."""
    ssim: Box
    """Pixels whose structural similarity is summed up, with the radius of its window around them."""
    cells: Box
    """Whole cells, in which flatness is measured."""
    textures: Box
    """The same cells with the margin that their texture needs."""
    windows: Box
    """Whole windows of ring correlation."""
    consistency: Box
    """Low-resolution pixels whose consistency error is summed up."""


def find_score_boxes(block: EvaluationBlock, low: Size, scale: int) -> ScoreBoxes:
    """Return the boxes of one block. Those of all blocks cover each pixel inside the unscored border once."""
    core, inner = block.core * scale, grow_box(Box.from_size(low * scale), -UNSCORED_BORDER_PX)
    errors = core.intersection(inner)
    window_centres = core.intersection(grow_box(inner, -SSIM_RADIUS_PX))
    consistency = block.core.intersection(grow_box(Box.from_size(low), -_divide_rounding_up(UNSCORED_BORDER_PX, scale)))
    origin = block.input_box * scale
    cells = _crop_to_grid(errors, CELL_PX)
    return ScoreBoxes(
        errors=errors.relative_to(origin),
        ssim=grow_box(window_centres, SSIM_RADIUS_PX).relative_to(origin),
        cells=cells.relative_to(origin),
        textures=grow_box(cells, TEXTURE_MARGIN_PX).relative_to(origin),
        windows=_crop_to_grid(errors, RING_WINDOW_PX).relative_to(origin),
        consistency=consistency.relative_to(block.input_box),
    )


def ssim_halo_px(scale: int) -> int:
    """Return the low-resolution px around a block whose enlargement its outermost SSIM windows contain."""
    return _divide_rounding_up(SSIM_RADIUS_PX, scale)


def grow_box(box: Box, px: int) -> Box:
    """Return the box with `px` more pixels on each side, or fewer if negative, down to an empty box."""
    left, top = box.left - px, box.top - px
    return Box(left, top, max(left, box.right + px), max(top, box.bottom + px))


def expand_to_jpeg_blocks(box: Box) -> Box:
    """Return the JPEG squares that determine a box, with one more around them, whose outer edge may be wrong."""
    wide, step = grow_box(box, JPEG_BLOCK_PX + JPEG_UPSAMPLING_RADIUS_PX), JPEG_BLOCK_PX
    right, bottom = _divide_rounding_up(wide.right, step), _divide_rounding_up(wide.bottom, step)
    return Box(wide.left // step, wide.top // step, right, bottom) * step


def _divide_rounding_up(px: int, divisor: int) -> int:
    return -(-px // divisor)


def _crop_to_grid(box: Box, step: int) -> Box:
    """Return the squares of `step` px, of a grid over the whole level, that lie completely in a box."""
    left, top = _divide_rounding_up(box.left, step) * step, _divide_rounding_up(box.top, step) * step
    right, bottom = box.right // step * step, box.bottom // step * step
    return Box(left, top, max(left, right), max(top, bottom))


def _list_cores(size: Size, step: int) -> list[Box]:
    whole = Box.from_size(size)
    lefts, tops = range(0, size.width, step), range(0, size.height, step)
    return [Box(left, top, left + step, top + step).intersection(whole) for top in tops for left in lefts]


def _expand_core(core: Box, size: Size, step: int, halo_px: int) -> Box:
    """Return the core with its halo as a box of one size for all blocks, moved to lie within the image.

    One size for all is faster in upscalers that compile or tune for a shape.
    """
    width, height = min(size.width, step + 2 * halo_px), min(size.height, step + 2 * halo_px)
    left = max(0, min(core.left - halo_px, size.width - width))
    top = max(0, min(core.top - halo_px, size.height - height))
    return Box(left, top, left + width, top + height)


def _choose_evenly(blocks: list[EvaluationBlock], count: int, step: int) -> list[EvaluationBlock]:
    """Choose `count` blocks at most, evenly along a Z-order curve: neither stripes nor clusters."""
    on_curve = sorted(blocks, key=lambda block: _morton_code(block.core.left // step, block.core.top // step))
    if len(on_curve) <= count:
        return blocks
    return [on_curve[(2 * i + 1) * len(on_curve) // (2 * count)] for i in range(count)]


def _morton_code(x: int, y: int) -> int:
    """Interleave the bits of both numbers: the position of a grid point on the Z-order curve."""
    return sum(((x >> bit & 1) << 2 * bit) | ((y >> bit & 1) << 2 * bit + 1) for bit in range(32))
