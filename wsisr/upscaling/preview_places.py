"""Preview places: where on a slide a preview looks when no region is given."""

from __future__ import annotations

import numpy as np

from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides.region import SlideRegion
from wsisr.tissue import find_tissue

PANEL_SIZE = Size(640, 512)
"""Size of a panel that shows a place found here, in px of the picture."""

LEAST_SIDE_PX = 64
"""Least side of a place, in px of the region: less shows no tissue, however much it is enlarged."""

WHOLE_SIDE_PX = 512
"""A region of at most this width and height is shown as a whole."""

CANDIDATE_COUNT = 32
"""Places whose pixels are read to choose among them, for each that is shown."""

_SQUARE_PX = 8


def find_preview_places(region: SlideRegion, count: int, shown_factor: int) -> list[Box]:
    """Return up to `count` places of the region with the most tissue structure, in its px, from top to bottom.

    A pixel of the region is shown as `shown_factor` px of the picture along each axis. A small region is one place.
    Raises `SlideError` if no tissue is found. Memory: the overview on which tissue is looked for, and one place.
    """
    size = region.size
    if max(size.width, size.height) <= WHOLE_SIDE_PX:
        return [Box.from_size(size)]
    sides = (max(side // shown_factor, LEAST_SIDE_PX) for side in (PANEL_SIZE.width, PANEL_SIZE.height))
    width, height = (min(side, whole) for side, whole in zip(sides, (size.width, size.height), strict=True))
    candidates = _list_tissue_places(region, Size(width, height))
    if not candidates:
        raise SlideError(f"{region.slide.info.path}: no tissue was found; say where to look with --region X,Y,W,H")
    # One from each part of the tissue, so that several show different tissue.
    parts = np.array_split(np.arange(len(candidates)), min(count, len(candidates)))
    return [_choose_place(region, [candidates[number] for number in part]) for part in parts]


def measure_structure(pixels: Rgb) -> float:
    """Return the median contrast, in grey levels, of squares of 8 px, times the cube of the share that is not glass:
    (h, w, 3) to a number.

    The median and the cube, so that tissue full of nuclei comes before debris, whose edges on glass are sharper. 0 for
    less than a square.
    """
    from wsisr.tissue.detection import MAX_GLASS_TINT, MIN_GLASS_LEVEL  # noqa: PLC0415 - it loads OpenCV

    rows, columns = (side // _SQUARE_PX for side in pixels.shape[:2])
    if not rows * columns:
        return 0.0
    grey = pixels[: rows * _SQUARE_PX, : columns * _SQUARE_PX].mean(axis=2)
    squares = grey.reshape(rows, _SQUARE_PX, columns, _SQUARE_PX)
    darkest = pixels.min(axis=2)
    is_stained = (darkest < MIN_GLASS_LEVEL) | (pixels.max(axis=2) - darkest > MAX_GLASS_TINT)
    return float(np.median(squares.std(axis=(1, 3))) * is_stained.mean() ** 3)


def _choose_place(region: SlideRegion, candidates: list[Box]) -> Box:
    """Return the place with the most structure among evenly spaced candidates."""
    count = min(CANDIDATE_COUNT, len(candidates))
    tried = [candidates[number * len(candidates) // count] for number in range(count)]
    return max(tried, key=lambda box: measure_structure(region.read(box)))


def _list_tissue_places(region: SlideRegion, size: Size) -> list[Box]:
    """Return the places of a size, side by side, whose middle touches tissue, row by row; all if no middle does."""
    tissue, cell_px = find_tissue(region.slide), min(size.width, size.height)
    rows, columns = region.size.height // size.height, region.size.width // size.width
    whole, readable = Box(0, 0, columns * size.width, rows * size.height), region.readable_box
    flags = tissue.mask_cells(readable.size, whole.relative_to(readable), cell_px)
    if not flags.any():
        return []
    corners = [(left, top) for top in range(0, whole.bottom, size.height) for left in range(0, whole.right, size.width)]
    half_width, half_height = size.width // 2, size.height // 2
    chosen = [
        (left, top) for left, top in corners if flags[(top + half_height) // cell_px, (left + half_width) // cell_px]
    ]
    return [Box.from_size(size).translate(left, top) for left, top in chosen or corners]
