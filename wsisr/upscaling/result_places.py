"""Places of a finished result that are worth a look: where most detail was added, and where it departs from its input.

Few pixels are read, whatever the size of the slide: windows that are spread evenly over the tissue, and the tiles that
the run found worst.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.imaging.geometry import Box, Size
from wsisr.tissue.map import BoolMask
from wsisr.upscaling.result_view import ResultView

PixelErrors: TypeAlias = npt.NDArray[np.float32]
"""(h, w) in grey levels."""

WINDOW_OUTPUT_PX = 192
"""Side of a window in px of the result."""

SAMPLED_WINDOWS = 48
"""Windows in which added detail is measured."""

LARGEST_TILE_PX = 1024
"""Input px along one axis of the part of a tile that is searched: larger tiles only GPUs compute."""


@dataclass(frozen=True, slots=True)
class Place:
    """A window of the result, and what was measured there, in grey levels."""

    box: Box
    """In px of the region."""
    detail: float
    """Mean absolute difference between the result and bicubic: what the network added."""
    error: float
    """Consistency error: mean absolute difference between the result, averaged back, and its input."""
    bound: float | None = None
    """Mean of what the trust layer says that the error is at most; None without a layer."""


def window_side(scale: int) -> int:
    """Return the side of a window in px of the region."""
    return WINDOW_OUTPUT_PX // scale


def list_windows(size: Size, side: int, tissue: BoolMask | None) -> list[Box]:
    """Return windows within an image, at most `SAMPLED_WINDOWS`, spread evenly over its tissue, else over all of it.

    `tissue` has a cell for each square of `side` px.
    """
    rows, columns = -(-size.height // side), -(-size.width // side)
    cells = np.ones((rows, columns), bool) if tissue is None or not tissue.any() else tissue
    places = np.argwhere(cells)
    on_curve = places[np.argsort(_interleave_bits(places))]
    chosen = np.linspace(0, len(on_curve) - 1, min(SAMPLED_WINDOWS, len(on_curve))).round().astype(int)
    return [_fit_window(column * side, row * side, side, size) for row, column in on_curve[chosen].tolist()]


def find_worst_window(view: ResultView, tile: Box) -> Box:
    """Return the window of a tile, in px of the region, where the result departs most from its input."""
    part = Box(tile.left, tile.top, tile.left + LARGEST_TILE_PX, tile.top + LARGEST_TILE_PX).intersection(tile)
    side = min(window_side(view.scale), part.width, part.height)
    errors = _measure_errors(view, part)
    means = cv2.boxFilter(errors, -1, (side, side), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    means = means[: part.height - side + 1, : part.width - side + 1]
    top, left = np.unravel_index(int(np.argmax(means)), means.shape)
    return _fit_window(part.left + int(left), part.top + int(top), window_side(view.scale), view.region.size)


def measure_place(view: ResultView, box: Box) -> Place:
    """Measure a window, given in px of the region."""
    detail = np.abs(view.read_output(box).astype(np.int16) - view.read_bicubic(box)).mean()
    return Place(box, float(detail), float(_measure_errors(view, box).mean()))


def choose_places(places: Iterable[Place], count: int, boxes: Sequence[Box] = ()) -> Iterator[Place]:
    """Yield the first places, at most `count`, that overlap neither each other nor the boxes."""
    taken = list(boxes)
    for place in places:
        if len(taken) == len(boxes) + count:
            return
        if not any(place.box.intersection(box).size.pixel_count for box in taken):
            taken.append(place.box)
            yield place


def _measure_errors(view: ResultView, box: Box) -> PixelErrors:
    """Return the consistency error of each pixel of the region in a box, mean over the colours: (h, w)."""
    difference = cv2.absdiff(view.read_input(box), view.read_shrunk_output(box))
    return np.asarray(difference.mean(axis=2, dtype=np.float32))


def _fit_window(left: int, top: int, side: int, size: Size) -> Box:
    """Return a window of at most `side` px that begins near a point and lies within an image."""
    width, height = min(side, size.width), min(side, size.height)
    left, top = max(0, min(left, size.width - width)), max(0, min(top, size.height - height))
    return Box(left, top, left + width, top + height)


def _interleave_bits(places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the positions of cells on a Z-order curve: (n, 2) of row and column to (n,)."""
    codes = np.zeros(len(places), np.int64)
    for bit in range(24):
        codes |= (places[:, 1] >> bit & 1) << 2 * bit | (places[:, 0] >> bit & 1) << 2 * bit + 1
    return codes
