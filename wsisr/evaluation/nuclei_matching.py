"""Nuclei of an image against those of the truth: sums over blocks, and the pairs of a whole level."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from wsisr.evaluation.nuclei import Labels
from wsisr.imaging.geometry import Box

MATCHED_UM = 3.0
"""Distance of centroids up to which two nuclei may be one: the radius of a small nucleus."""

Points: TypeAlias = npt.NDArray[np.float64]
"""(n, 2): x and y in um."""

Areas: TypeAlias = npt.NDArray[np.float64]
"""(n,): um squared."""

Pairs: TypeAlias = npt.NDArray[np.int64]
"""(n, 2): numbers of two nuclei, each at most once in its column."""


@dataclass(frozen=True, slots=True)
class Nuclei:
    """Nuclei of a level, or of a part of it."""

    centroids: Points
    areas: Areas

    @classmethod
    def from_labels(cls, labels: Labels, core: Box, place: tuple[int, int], mpp: float) -> Nuclei:
        """Return the nuclei whose centroid lies in `core`, px of the labels, whose first pixel is at `place`."""
        flat = labels.ravel()
        areas = np.bincount(flat)
        rows, columns = np.divmod(np.flatnonzero(flat), labels.shape[1])
        numbers = flat[flat > 0]
        number = np.flatnonzero(areas[1:]) + 1
        x, y = (np.bincount(numbers, axis + 0.5)[number] / areas[number] for axis in (columns, rows))
        inside = (x >= core.left) & (x < core.right) & (y >= core.top) & (y < core.bottom)
        centroids = np.column_stack([x + place[0], y + place[1]])[inside] * mpp
        return cls(centroids, np.asarray(areas[number][inside] * mpp**2, np.float64))

    def __len__(self) -> int:
        return len(self.areas)


@dataclass(slots=True)
class NucleiSums:
    """Nuclei of one image of a level, block by block, and how much of their area the truth's share."""

    parts: list[Nuclei] = field(default_factory=list)
    area_px: int = 0
    shared_px: int = 0
    """Pixels that are of a nucleus in this image and in the truth."""

    def add(self, nuclei: Nuclei, labels: Labels, truth: Labels) -> None:
        """Add a block: its nuclei, and the labels of those pixels that no other block has."""
        self.parts.append(nuclei)
        self.area_px += int(np.count_nonzero(labels))
        self.shared_px += int(np.count_nonzero((labels > 0) & (truth > 0)))

    def join_nuclei(self) -> Nuclei:
        """Return the nuclei of all blocks."""
        return Nuclei(
            np.concatenate([part.centroids for part in self.parts]), np.concatenate([part.areas for part in self.parts])
        )


def match_points(points: Points, others: Points, limit_um: float = MATCHED_UM) -> Pairs:
    """Return pairs one to one, at most `limit_um` apart: the nearest two first, then the nearest of the rest."""
    from scipy.spatial import cKDTree  # noqa: PLC0415 - comes with scikit-image, an extra

    if not len(points) or not len(others):
        return np.empty((0, 2), np.int64)
    near = cKDTree(points).sparse_distance_matrix(cKDTree(others), limit_um, output_type="ndarray")
    is_free, is_other_free = [True] * len(points), [True] * len(others)
    pairs = []
    for _, i, j in sorted(zip(near["v"].tolist(), near["i"].tolist(), near["j"].tolist(), strict=True)):
        if is_free[i] and is_other_free[j]:
            is_free[i] = is_other_free[j] = False
            pairs.append((i, j))
    return np.array(pairs, np.int64).reshape(-1, 2)
