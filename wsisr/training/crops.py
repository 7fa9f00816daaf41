"""Which piece of a patch is learned from: only that is degraded, with what lies around it, and not the whole patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from wsisr.imaging.pixels import Rgb

MARGIN_PX = 8
"""Around a crop, in px of the low resolution: as far as blurs and the blocks of a JPEG reach."""

GRID_PX = 16
"""Period of a JPEG's grid. Windows begin up to that much further out, so that crops lie anywhere on it."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A square piece of both images of a pair, turned and mirrored alike. In px of the low resolution."""

    top: int
    left: int
    side: int
    above: int
    """Rows of the window before the crop."""
    before: int
    """Columns likewise."""
    turns: int
    """By 90 degrees."""
    mirror: bool

    @classmethod
    def drawn(cls, patch: int, side: int, random: np.random.Generator) -> Self:
        """Anywhere in a patch of that side."""
        top, left = random.integers(patch - side + 1, size=2).tolist()
        above, before = (MARGIN_PX + random.integers(GRID_PX, size=2)).tolist()
        return cls(
            top, left, side, min(top, above), min(left, before), int(random.integers(4)), bool(random.integers(2))
        )

    def window(self, patch: Rgb, scale: int) -> Rgb:
        """The crop and what lies around it, of an image whose px are `scale` times finer; less at the patch's edges."""
        rows = slice((self.top - self.above) * scale, (self.top + self.side + MARGIN_PX) * scale)
        columns = slice((self.left - self.before) * scale, (self.left + self.side + MARGIN_PX) * scale)
        return patch[rows, columns]

    def inner(self, window: Rgb, scale: int) -> Rgb:
        """The crop out of its window, turned."""
        return self._turned(_square(window, self.above * scale, self.before * scale, self.side * scale))

    def of(self, patch: Rgb, scale: int) -> Rgb:
        """The crop out of the patch, turned."""
        return self._turned(_square(patch, self.top * scale, self.left * scale, self.side * scale))

    def _turned(self, image: Rgb) -> Rgb:
        turned = np.rot90(image, self.turns)
        return turned[:, ::-1] if self.mirror else turned


def _square(image: Rgb, top: int, left: int, side: int) -> Rgb:
    return image[top : top + side, left : left + side]
