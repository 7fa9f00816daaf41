"""Random crops of training patches.

Only the crop and a halo around it are degraded, not the whole patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from wsisr.imaging.pixels import Rgb

CROP_HALO_PX = 8
"""Halo around a crop, in low-resolution px: as far as blurs and JPEG blocks reach."""

JPEG_GRID_PX = 16
"""Period of the JPEG block grid with 4:2:0. Halos are up to that much larger above and left, so that crops lie
anywhere on the grid."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A square crop of both images of a pair, rotated and mirrored alike. All lengths in low-resolution px."""

    top: int
    left: int
    side: int
    halo_rows: int
    """Rows of the halo above the crop; fewer at the patch's edge."""
    halo_columns: int
    """Columns of the halo left of the crop, likewise."""
    quarter_turns: int
    """Number of rotations by 90 degrees."""
    mirror: bool

    @classmethod
    def draw_random(cls, patch: int, side: int, random: np.random.Generator) -> Self:
        """Return a random crop of `side` px from a square patch of `patch` px."""
        top, left = random.integers(patch - side + 1, size=2).tolist()
        halo_rows, halo_columns = (CROP_HALO_PX + random.integers(JPEG_GRID_PX, size=2)).tolist()
        return cls(
            top,
            left,
            side,
            min(top, halo_rows),
            min(left, halo_columns),
            int(random.integers(4)),
            bool(random.integers(2)),
        )

    def cut_with_halo(self, patch: Rgb, scale: int) -> Rgb:
        """Cut the crop with its halo from an image `scale` times finer; at the patch's edges the halo is smaller."""
        rows = slice((self.top - self.halo_rows) * scale, (self.top + self.side + CROP_HALO_PX) * scale)
        columns = slice((self.left - self.halo_columns) * scale, (self.left + self.side + CROP_HALO_PX) * scale)
        return patch[rows, columns]

    def trim_halo(self, crop_with_halo: Rgb, scale: int) -> Rgb:
        """Cut the crop from what `cut_with_halo` returned, rotated and mirrored."""
        return self._rotate_and_mirror(
            _cut_square(crop_with_halo, self.halo_rows * scale, self.halo_columns * scale, self.side * scale)
        )

    def cut(self, patch: Rgb, scale: int) -> Rgb:
        """Cut the crop from the whole patch, rotated and mirrored."""
        return self._rotate_and_mirror(_cut_square(patch, self.top * scale, self.left * scale, self.side * scale))

    def _rotate_and_mirror(self, image: Rgb) -> Rgb:
        rotated = np.rot90(image, self.quarter_turns)
        return rotated[:, ::-1] if self.mirror else rotated


def _cut_square(image: Rgb, top: int, left: int, side: int) -> Rgb:
    return image[top : top + side, left : left + side]
