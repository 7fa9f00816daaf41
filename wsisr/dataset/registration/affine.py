"""Affine maps from the plane of one image to that of another. A pixel i covers i to i + 1, so a centre is at a half.

In these coordinates another pitch is a product and a crop is a sum, with no halves to remember.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from wsisr.imaging.geometry import Box, Size

Points: TypeAlias = npt.NDArray[np.float64]
"""(n, 2) of x, y."""

Matrix: TypeAlias = npt.NDArray[np.float64]
"""(2, 3): what x, y and 1 contribute to x and to y."""


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """A map of points: x' = xx x + xy y + x0, y' = yx x + yy y + y0."""

    matrix: Matrix

    @classmethod
    def similarity(cls, scale: float, degrees: float = 0, mirrored: bool = False) -> Affine:
        """About the origin: mirrored left to right first if `flip`, then turned clockwise as seen, then scaled."""
        cos, sin = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
        side = -1 if mirrored else 1
        return cls(np.array([[side * cos, -sin, 0.0], [side * sin, cos, 0.0]]))

    @classmethod
    def fit(cls, source: Points, target: Points) -> Affine:
        """Least squares over three points or more that are not on one line."""
        terms = np.column_stack([source, np.ones(len(source))])
        return cls(np.asarray(np.linalg.lstsq(terms, target, rcond=None)[0].T, np.float64))

    def __call__(self, points: Points) -> Points:
        return np.asarray(points @ self.matrix[:, :2].T + self.matrix[:, 2])

    def compose(self, first: Affine) -> Affine:
        """This map applied to what the first one gives."""
        linear = self.matrix[:, :2] @ first.matrix[:, :2]
        return Affine(np.column_stack([linear, self(first.matrix[:, 2][None])[0]]))

    def translate(self, x: float, y: float) -> Affine:
        """The target shifted by x, y."""
        return Affine(self.matrix + np.array([[0, 0, x], [0, 0, y]]))

    def shift_origin(self, x: float, y: float) -> Affine:
        """The same map where the origin of the source is at x, y: for a piece that was cut out there."""
        return self.compose(Affine(np.array([[1.0, 0, x], [0, 1.0, y]])))

    def rescale(self, source: float, target: float) -> Affine:
        """The same map between both images shrunk: so many px of each are one px now."""
        matrix = self.matrix.copy()
        matrix[:, :2] *= source
        return Affine(matrix / target)

    @property
    def inverse(self) -> Affine:
        linear = np.linalg.inv(self.matrix[:, :2])
        return Affine(np.column_stack([linear, -linear @ self.matrix[:, 2]]))

    @property
    def scale(self) -> float:
        """Target px per source px: the geometric mean of both axes."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix[:, :2]))))

    @property
    def is_mirrored(self) -> bool:
        return bool(np.linalg.det(self.matrix[:, :2]) < 0)

    @property
    def degrees(self) -> float:
        """How far the source's y axis is turned clockwise as seen, -180 to 180."""
        return math.degrees(math.atan2(-self.matrix[0, 1], self.matrix[1, 1]))

    @property
    def stretch(self) -> float:
        """Ratio of the largest to the smallest scale over all directions; 1 for a similarity."""
        largest, smallest = np.linalg.svd(self.matrix[:, :2], compute_uv=False)
        return float(largest / smallest)


def corner_points(size: Size) -> Points:
    """The four corners of an image."""
    return np.array([[0.0, 0], [size.width, 0], [0, size.height], [size.width, size.height]])


def enclosing_box(points: Points, margin: int = 0) -> Box:
    """The smallest box of whole pixels that holds all points and a margin."""
    left, top = np.floor(points.min(axis=0)).astype(int) - margin
    right, bottom = np.ceil(points.max(axis=0)).astype(int) + margin
    return Box(int(left), int(top), int(right), int(bottom))


def mean_corner_distance(one: Affine, other: Affine, size: Size) -> float:
    """Mean distance of an image's corners under two maps, in target px."""
    return float(np.linalg.norm(one(corner_points(size)) - other(corner_points(size)), axis=1).mean())
