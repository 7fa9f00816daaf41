"""A tissue map: a mask stretched over a whole slide, True for tissue.

Positions are fractions of the slide, so one map serves every level. A cell counts as tissue if it touches any.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from wsisr.imaging.geometry import Box, Size

BoolMask: TypeAlias = npt.NDArray[np.bool_]
"""(h, w) of bool."""


@dataclass(frozen=True, eq=False)
class TissueMap:
    """The tissue of a slide and how it was determined."""

    mask: BoolMask = field(repr=False)
    origin: str
    """How it was determined, in words: `found at 4 um/px`, `marked in a png file`, `all of it, as asked`."""

    @property
    def area_fraction(self) -> float:
        """Share of the slide's area that is tissue, 0 to 1."""
        return float(self.mask.mean())

    def mask_cells(self, image: Size, part: Box, cell_px: int) -> BoolMask:
        """Return which cells of `part`, from its top left, touch tissue; in px of an image of the whole slide."""
        rows = make_cell_edges(part.top, part.bottom, cell_px) * (self.mask.shape[0] / image.height)
        columns = make_cell_edges(part.left, part.right, cell_px) * (self.mask.shape[1] / image.width)
        return _reduce_any(_reduce_any(self.mask, rows).T, columns).T

    def mask_pixels(self, image: Size) -> BoolMask:
        """Return which pixels of an image of the whole slide touch tissue: (height, width)."""
        return self.mask_cells(image, Box.from_size(image), 1)


def make_full_map(origin: str = "all of it, as asked") -> TissueMap:
    """Return the map that takes the whole slide as tissue."""
    return TissueMap(np.ones((1, 1), bool), origin)


def make_cell_edges(start: int, stop: int, step: int) -> npt.NDArray[np.int64]:
    """Return where each cell begins, and where the last, possibly smaller one ends."""
    return np.append(np.arange(start, stop, step), stop)


def _reduce_any(flags: BoolMask, edges: npt.NDArray[np.float64]) -> BoolMask:
    """Return whether any row between two edges is True: (n, ...) to (len(edges)-1, ...)."""
    starts = np.clip(np.floor(edges[:-1] + 1e-9).astype(int), 0, len(flags) - 1)
    stops = np.clip(np.ceil(edges[1:] - 1e-9).astype(int), starts + 1, len(flags))
    return np.stack([flags[start:stop].any(axis=0) for start, stop in zip(starts, stops, strict=True)])
