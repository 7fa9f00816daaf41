"""A map of tissue: a bool picture over a whole slide, True where there is something worth a network's time.

Positions are shares of the slide, so one map serves every level. A cell counts as tissue if it touches any.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from wsisr.imaging.geometry import Box, Size

Flags: TypeAlias = npt.NDArray[np.bool_]
"""(h, w)."""


@dataclass(frozen=True, eq=False)
class TissueMap:
    """Where the tissue is, and how that was decided."""

    flags: Flags = field(repr=False)
    origin: str
    """How the decision came about, in words: `found at 4 um/px`, `marked in a png file`, `all of it, as asked`."""

    @property
    def share(self) -> float:
        """Of the slide's area, 0 to 1."""
        return float(self.flags.mean())

    def cells(self, image: Size, part: Box, cell_px: int) -> Flags:
        """One flag for each cell of `part`, counted from its top left; all in px of an image of the whole slide."""
        rows = edges(part.top, part.bottom, cell_px) * (self.flags.shape[0] / image.height)
        columns = edges(part.left, part.right, cell_px) * (self.flags.shape[1] / image.width)
        return _any(_any(self.flags, rows).T, columns).T


def everywhere(origin: str = "all of it, as asked") -> TissueMap:
    """The map that leaves nothing out."""
    return TissueMap(np.ones((1, 1), bool), origin)


def edges(start: int, stop: int, step: int) -> npt.NDArray[np.int64]:
    """Where cells of one size begin, and where the last, perhaps smaller one ends."""
    return np.append(np.arange(start, stop, step), stop)


def _any(flags: Flags, edges: npt.NDArray[np.float64]) -> Flags:
    """(n, ...) to (len(edges)-1, ...): whether a row that reaches between two edges holds a flag."""
    starts = np.clip(np.floor(edges[:-1] + 1e-9).astype(int), 0, len(flags) - 1)
    stops = np.clip(np.ceil(edges[1:] - 1e-9).astype(int), starts + 1, len(flags))
    return np.stack([flags[start:stop].any(axis=0) for start, stop in zip(starts, stops, strict=True)])
