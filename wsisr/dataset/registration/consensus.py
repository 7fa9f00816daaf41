"""One map for two whole images out of many small fields that agree. Those that do not are left out, and counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsisr.dataset.registration.affine import Affine, Points

MIN_INLIERS = 5
"""Fields that must agree for a map to be believed; three would fit any affine."""

MIN_INLIER_SHARE = 0.4
"""Of the fields with something to see, that must agree."""

MAX_STRETCH = 1.05
"""Of a believed map: scanners have pixels that are square to a part in a hundred."""

INLIER_DISTANCE_PX = 1.5
"""Distance from the map up to which a field agrees, in px."""


@dataclass(frozen=True, slots=True)
class MapConsensus:
    """A map and how well fields agree on it."""

    map: Affine
    inliers: int
    candidates: int
    residual: float
    """Root mean square distance of the fields that agree, in px of the target; infinite where they tell no map, being
    too few or on a line."""

    @property
    def is_reliable(self) -> bool:
        enough = self.inliers >= max(MIN_INLIERS, MIN_INLIER_SHARE * self.candidates)
        return enough and math.isfinite(self.residual) and self.map.stretch < MAX_STRETCH


def fit_consensus_map(source: Points, target: Points, prior: Affine, looked_at: int) -> MapConsensus:
    """The affine map of most points (n, 2) to their partners, by least squares over those that agree with it."""
    distances = np.linalg.norm(prior(source) - target, axis=1)
    near = distances <= 3 * max(float(np.median(distances)), INLIER_DISTANCE_PX) if len(source) else np.zeros(0, bool)
    found = prior
    for _ in range(5):
        if near.sum() < MIN_INLIERS or _are_collinear(source[near]):
            return MapConsensus(prior, int(near.sum()), looked_at, float("inf"))
        found = Affine.fit(source[near], target[near])
        distances = np.linalg.norm(found(source) - target, axis=1)
        near = distances <= INLIER_DISTANCE_PX
    residual = float(np.sqrt(np.mean(distances[near] ** 2))) if near.any() else float("inf")
    return MapConsensus(found, int(near.sum()), looked_at, residual)


def _are_collinear(points: Points) -> bool:
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(spread[-1] < 0.05 * spread[0])


def sample_indices(count: int, most: int) -> Sequence[int]:
    """At most so many of the indices below `count`, spread over them in a fixed order of their own."""
    return sorted(np.random.default_rng(0).permutation(count)[:most].tolist())
