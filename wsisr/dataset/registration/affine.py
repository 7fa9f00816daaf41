"""Affine maps from the plane of one image to that of another. Pixel i covers i to i + 1, so its centre is at a half.

In these coordinates another pixel size is a product and a crop is a sum, without offsets of half a pixel.
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
"""(2, 3): the contributions of x, y and 1 to x and to y."""


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """A map of points: x' = xx x + xy y + x0, y' = yx x + yy y + y0."""

    matrix: Matrix

    @classmethod
    def similarity(cls, scale: float, degrees: float = 0, mirrored: bool = False) -> Affine:
        """Return the map that mirrors left to right if `mirrored`, then turns clockwise as seen, then scales."""
        cos, sin = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
        side = -1 if mirrored else 1
        return cls(np.array([[side * cos, -sin, 0.0], [side * sin, cos, 0.0]]))

    @classmethod
    def fit(cls, source: Points, target: Points) -> Affine:
        """Fit by least squares over three or more points that are not collinear."""
        terms = np.column_stack([source, np.ones(len(source))])
        return cls(np.asarray(np.linalg.lstsq(terms, target, rcond=None)[0].T, np.float64))

    def __call__(self, points: Points) -> Points:
        return np.asarray(points @ self.matrix[:, :2].T + self.matrix[:, 2])

    def compose(self, first: Affine) -> Affine:
        """Return the map that applies `first`, then this one."""
        linear = self.matrix[:, :2] @ first.matrix[:, :2]
        return Affine(np.column_stack([linear, self(first.matrix[:, 2][None])[0]]))

    def translate(self, x: float, y: float) -> Affine:
        """Return the map with its target shifted by x, y."""
        return Affine(self.matrix + np.array([[0, 0, x], [0, 0, y]]))

    def shift_origin(self, x: float, y: float) -> Affine:
        """Return the map for a crop of the source whose origin is at x, y."""
        return self.compose(Affine(np.array([[1.0, 0, x], [0, 1.0, y]])))

    def rescale(self, source: float, target: float) -> Affine:
        """Return the map after shrinking: `source` px of the first, `target` px of the second image become one."""
        matrix = self.matrix.copy()
        matrix[:, :2] *= source
        return Affine(matrix / target)

    @property
    def opencv_matrix(self) -> Matrix:
        """Matrix for `cv2.warpAffine`, in whose coordinates pixel centres are at whole numbers."""
        return np.column_stack([self.matrix[:, :2], self(np.array([[0.5, 0.5]]))[0] - 0.5])

    @property
    def inverse(self) -> Affine:
        linear = np.linalg.inv(self.matrix[:, :2])
        return Affine(np.column_stack([linear, -linear @ self.matrix[:, 2]]))

    @property
    def scale(self) -> float:
        """Target px per source px, the geometric mean over both axes."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix[:, :2]))))

    @property
    def is_mirrored(self) -> bool:
        return bool(np.linalg.det(self.matrix[:, :2]) < 0)

    @property
    def degrees(self) -> float:
        """Angle by which the y axis of the source is turned clockwise as seen, -180 to 180."""
        return math.degrees(math.atan2(-self.matrix[0, 1], self.matrix[1, 1]))

    @property
    def stretch(self) -> float:
        """Ratio of the largest to the smallest scale over all directions; 1 for a similarity."""
        largest, smallest = np.linalg.svd(self.matrix[:, :2], compute_uv=False)
        return float(largest / smallest)


def corner_points(size: Size) -> Points:
    """Return the four corners of an image."""
    return np.array([[0.0, 0], [size.width, 0], [0, size.height], [size.width, size.height]])


def enclosing_box(points: Points, margin: int = 0) -> Box:
    """Return the smallest box of whole pixels that holds all points and a margin."""
    left, top = np.floor(points.min(axis=0)).astype(int) - margin
    right, bottom = np.ceil(points.max(axis=0)).astype(int) + margin
    return Box(int(left), int(top), int(right), int(bottom))


def mean_corner_distance(one: Affine, other: Affine, size: Size) -> float:
    """Return the mean distance of the corners of an image under two maps, in target px."""
    return float(np.linalg.norm(one(corner_points(size)) - other(corner_points(size)), axis=1).mean())
