"""What the trust layer of a finished result shows: an overlay in colours, and the windows that it doubts most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import tifffile

from wsisr.errors import SlideError, describe_error
from wsisr.imaging.geometry import Box, Size
from wsisr.upscaling.trust.colours import draw_bounds
from wsisr.upscaling.trust.features import CELL_PX
from wsisr.upscaling.trust.layer import halve_bounds
from wsisr.upscaling.trust.summary import NOT_CALIBRATED, BoundPlane

MAX_CELLS = 4_000_000
"""Cells of the level that is looked at; of a larger layer, a coarser one."""

MIN_KNOWN_SHARE = 0.5
"""Share of a window, 0 to 1, that the layer must tell something of."""


FloatPlane = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DoubtfulWindow:
    """A window in px of the region, and the mean bound of its error in grey levels."""

    box: Box
    bound: float


@dataclass(frozen=True, slots=True)
class TrustOverlay:
    """The trust layer in colours, from the corner of the region on."""

    png: bytes = field(repr=False)
    size: Size
    """In px of the region: whole cells, so it may be a little larger."""


def read_bounds(path: Path, size: Size) -> tuple[BoundPlane, int]:
    """Return the bounds of a trust layer, and the side of a cell in px of the region, which has a size.

    Raises `SlideError` for a file that is damaged or of another region.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            levels = tiff.series[0].levels
            number = next((i for i, level in enumerate(levels) if level.size <= MAX_CELLS), len(levels) - 1)
            bounds = np.asarray(levels[number].asarray())
    except (OSError, tifffile.TiffFileError, ValueError, IndexError, KeyError, TypeError) as error:
        raise SlideError(f"{path}: cannot be read ({describe_error(error)}); repeat the run with --trust") from error
    cell_px = CELL_PX << number
    if bounds.dtype != np.uint8 or bounds.shape != (-(-size.height // cell_px), -(-size.width // cell_px)):
        raise SlideError(f"{path}: is not the trust layer of this result; repeat the run with --trust")
    return bounds, cell_px


def draw_overview(bounds: BoundPlane, cell_px: int, longest_px: int) -> TrustOverlay:
    """Draw bounds as an overlay of at most `longest_px` along either side."""
    while max(bounds.shape) > longest_px:
        bounds, cell_px = halve_bounds(bounds), 2 * cell_px
    size = Size(bounds.shape[1] * cell_px, bounds.shape[0] * cell_px)
    return TrustOverlay(draw_bounds(bounds), size)


def find_doubtful_windows(bounds: BoundPlane, cell_px: int, side: int, size: Size) -> Iterator[DoubtfulWindow]:
    """Yield windows of `side` px that do not overlap, the largest mean bound first."""
    cells = max(1, min(side // cell_px, *bounds.shape))
    known = (bounds != NOT_CALIBRATED).astype(np.float32)
    sums, shares = (_average_windows(plane, cells) for plane in (bounds * known, known))
    means = sums / np.maximum(shares, np.float32(1e-6))
    # Of windows that are doubted alike, the one of which most is known.
    scores = np.where(shares >= MIN_KNOWN_SHARE, means + shares, -1)
    while scores.max() >= 0:
        row, column = np.unravel_index(int(np.argmax(scores)), scores.shape)
        scores[max(0, row - cells + 1) : row + cells, max(0, column - cells + 1) : column + cells] = -1
        left = max(0, min(int(column) * cell_px, size.width - side))
        top = max(0, min(int(row) * cell_px, size.height - side))
        box = Box(left, top, left + side, top + side).intersection(Box.from_size(size))
        yield DoubtfulWindow(box, float(means[row, column]))


def _average_windows(plane: FloatPlane, cells: int) -> FloatPlane:
    """Return the mean over squares of cells, by their first cell: (h, w) to (h-cells+1, w-cells+1)."""
    means = cv2.boxFilter(plane, -1, (cells, cells), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    return np.asarray(means[: plane.shape[0] - cells + 1, : plane.shape[1] - cells + 1])
