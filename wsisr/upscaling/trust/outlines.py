"""Outlines of cells as polygons along the cells' edges."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.tissue.map import BoolMask

Ring: TypeAlias = list[tuple[int, int]]
"""Corners x and y of a closed line; the last one is the first."""

Polygon: TypeAlias = list[Ring]
"""An outline, then its holes."""


def outline_cells(cells: BoolMask, least_cells: int, cell_px: int) -> list[Polygon]:
    """Return the outline of each group of at least so many cells that share edges, in px of cells of `cell_px`.

    OpenCV draws lines through pixel centres. With each cell as 2 x 2 px, the line through a pixel belongs to the edge
    of the cell that the pixel touches, so the corners are exact.
    """
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(cells.astype(np.uint8), connectivity=4)
    polygons = []
    for number in range(1, count):
        left, top, width, height, area = statistics[number].tolist()
        if area >= least_cells:
            part = labels[top : top + height, left : left + width] == number
            polygons.append(_outline_group(part, (left, top), cell_px))
    return polygons


def _outline_group(part: BoolMask, origin: tuple[int, int], cell_px: int) -> Polygon:
    fine = part.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, hierarchy = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = [_trace_ring(np.asarray(contour[:, 0], np.int32), origin, cell_px) for contour in contours]
    is_hole = [parent >= 0 for parent in hierarchy[0][:, 3].tolist()]
    return [ring for _, ring in sorted(zip(is_hole, rings, strict=True), key=lambda pair: pair[0])]


def _trace_ring(points: npt.NDArray[np.int32], origin: tuple[int, int], cell_px: int) -> Ring:
    """Return the corners of a line of pixels, twice as fine as cells: odd ones lie at a cell's right or lower edge."""
    edges = (points + 1) // 2
    turned = (np.diff(edges, axis=0, append=edges[:1]) != 0).any(axis=1)
    edges = edges[turned]
    before, after = edges - np.roll(edges, 1, axis=0), np.roll(edges, -1, axis=0) - edges
    corners = edges[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
    ring = [(int(x + origin[0]) * cell_px, int(y + origin[1]) * cell_px) for x, y in corners]
    return [*ring, ring[0]]
