"""The map between two whole images that most of many registered fields agree on; outliers are left out and counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsisr.dataset.registration.affine import Affine, Points

MIN_INLIERS = 5
"""Fewest fields that must agree on a reliable map; an affine map fits any three."""

MIN_INLIER_SHARE = 0.4
"""Smallest share of the candidates that must agree on a reliable map."""

MAX_STRETCH = 1.05
"""Largest stretch of a reliable map: the pixels of scanners are square to one percent."""

INLIER_DISTANCE_PX = 1.5
"""Largest distance of an inlier from the map, in px of the target."""


@dataclass(frozen=True, slots=True)
class MapConsensus:
    """A map, and the agreement of fields on it."""

    map: Affine
    inliers: int
    """Number of fields that agree."""
    candidates: int
    """Number of fields with structure, registered or not."""
    residual: float
    """Root mean square distance of the inliers from the map, in px of the target; infinite if the inliers determine no
    map, because they are too few or collinear."""

    @property
    def is_reliable(self) -> bool:
        has_enough = self.inliers >= max(MIN_INLIERS, MIN_INLIER_SHARE * self.candidates)
        return has_enough and math.isfinite(self.residual) and self.map.stretch < MAX_STRETCH


def fit_consensus_map(source: Points, target: Points, prior: Affine, candidates: int) -> MapConsensus:
    """Fit the affine map from points (n, 2) to their partners, by least squares over the inliers, in five rounds.

    The first inliers are the points near their place by the prior: within 3 times the median distance.
    """
    distances = np.linalg.norm(prior(source) - target, axis=1)
    limit = 3 * max(float(np.median(distances)), INLIER_DISTANCE_PX) if len(source) else 0.0
    inliers, fitted = distances <= limit, prior
    for _ in range(5):
        if inliers.sum() < MIN_INLIERS or _are_collinear(source[inliers]):
            return MapConsensus(prior, int(inliers.sum()), candidates, float("inf"))
        fitted = Affine.fit(source[inliers], target[inliers])
        distances = np.linalg.norm(fitted(source) - target, axis=1)
        inliers = distances <= INLIER_DISTANCE_PX
    residual = float(np.sqrt(np.mean(distances[inliers] ** 2))) if inliers.any() else float("inf")
    return MapConsensus(fitted, int(inliers.sum()), candidates, residual)


def _are_collinear(points: Points) -> bool:
    extents = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(extents[-1] < 0.05 * extents[0])


def sample_indices(count: int, limit: int) -> Sequence[int]:
    """Return at most `limit` of the indices below `count`, at random but the same every time, in order."""
    return sorted(np.random.default_rng(0).permutation(count)[:limit].tolist())
