"""The map from one image to another, found to a small part of a pixel from a start a few pixels off.

Gauss-Newton on grey levels. The colours of the target are fitted to those of the source by an affine map of RGB that is
solved for anew at every step: recolouring costs no accuracy, and two stains of one tissue still correlate. Of a target
that is the finer, what the source cannot have seen is blurred away first. Everything the gate asks comes out of the
last step: correlation, the error to be expected, and how far each quarter of the source would still move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.dataset.registration.affine import Affine, Points, corner_points
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb

PixelValues: TypeAlias = npt.NDArray[np.float32]
"""(n, 3) of grey levels or of what they change by, one row per px."""

Float64Array: TypeAlias = npt.NDArray[np.float64]

COARSE_VIEW_SIGMA_PX = 0.6
"""Standard deviation of the blur that makes a finer image look like a coarser one, in px of the coarser; measured."""

MAX_STEPS = 20

CONVERGED_PX = 0.002
"""Movement, in px of the source at its border, below which the search has arrived."""

MIN_INSIDE_SHARE = 0.01
"""Share of the source that must lie within the target for there to be anything to fit."""


@dataclass(frozen=True, slots=True, eq=False)
class FittedMap:
    """A map as it was found, with what is known of its quality. Distances are in px of the target."""

    map: Affine
    correlation: float
    """Of the source with the target in its place and its colours: root of the share of variance explained."""
    expected_error: float
    """Mean error of the corners that noise of the size of what is left unexplained would cause."""
    strain: float
    """Root mean square of how far the quarters of the source, each alone, would still move."""
    colours: Float64Array
    """(4, 3): what R, G, B of the target, and 1, contribute to R, G and B of the source."""


@dataclass(frozen=True, slots=True)
class RegistrationTarget:
    """An image prepared to be fitted to: blurred to what a coarser one sees, with its slopes."""

    size: Size
    light: npt.NDArray[np.float32]
    gradient_x: npt.NDArray[np.float32]
    gradient_y: npt.NDArray[np.float32]

    @classmethod
    def prepare(cls, image: Rgb, scale: float) -> RegistrationTarget:
        """An image as seen in px `scale` times as large."""
        light = np.asarray(
            cv2.GaussianBlur(image.astype(np.float32), (0, 0), max(COARSE_VIEW_SIGMA_PX * scale, 0.3)), np.float32
        )
        down, across = (np.asarray(np.gradient(light, axis=axis), np.float32) for axis in (0, 1))
        return cls(Size(image.shape[1], image.shape[0]), light, across, down)

    def contains(self, points: Points) -> npt.NDArray[np.bool_]:
        limits = np.array([self.size.width, self.size.height]) - 0.5
        return np.asarray(((points > 0.5) & (points < limits)).all(axis=1))

    def resample(self, place: Affine, size: Size) -> npt.NDArray[np.float32]:
        """(h, w, 3) of grey levels: what an image of this size sees that `place` maps here; borders are repeated."""
        matrix = np.column_stack([place.matrix[:, :2], place(np.array([[0.5, 0.5]]))[0] - 0.5])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        shape = (size.width, size.height)
        return np.asarray(cv2.warpAffine(self.light, matrix, shape, flags=flags, borderMode=cv2.BORDER_REPLICATE))

    def sample(self, points: Points) -> tuple[PixelValues, PixelValues, PixelValues]:
        """Light and its slopes along x and y where the points are, bilinear."""
        places = (points - 0.5).astype(np.float32)
        return tuple(_sample_bilinear(image, places) for image in (self.light, self.gradient_x, self.gradient_y))  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class _SourceGrid:
    """How each unknown moves the points of the source: shift, scale and turn; about the centre, one at the border."""

    points: Points
    modes: Float64Array
    """(unknowns, points, 2)."""

    @classmethod
    def for_size(cls, size: Size, flip: bool) -> _SourceGrid:
        x, y = np.meshgrid(np.arange(size.width) + 0.5, np.arange(size.height) + 0.5)
        points = np.column_stack([x.ravel(), y.ravel()])
        return cls(points, _motion_modes(points, size, flip))


def refine_similarity(source: Rgb, target: RegistrationTarget, start: Affine) -> FittedMap | None:
    """The similarity near `start` from the source to the target; None where it leads out of the target, or nowhere."""
    size = Size(source.shape[1], source.shape[0])
    lever, light, place = _SourceGrid.for_size(size, start.is_mirrored), source.reshape(-1, 3).astype(np.float32), start
    for remaining in reversed(range(MAX_STEPS)):
        points = place(lever.points)
        inside = target.contains(points)
        step = (
            _GaussNewtonStep.linearise(light[inside], target.sample(points[inside]), lever.modes[:, inside])
            if _has_overlap(inside)
            else None
        )
        if step is None:
            return None
        place = _apply_movement(place, step.movement, size)
        if np.abs(step.movement).max() < CONVERGED_PX * start.scale or not remaining:
            return step.make_fitted_map(place, lever.points[inside], size)
    raise AssertionError("the last step returns")


def _has_overlap(inside: npt.NDArray[np.bool_]) -> bool:
    return float(inside.mean()) >= MIN_INSIDE_SHARE


@dataclass(frozen=True, slots=True)
class _GaussNewtonStep:
    """The linear problem about one place of the source."""

    jacobian: Float64Array
    """(unknowns, n, 3): how light changes with each unknown."""
    slopes: Float64Array
    """(2, n, 3): how light changes when only that px moves along x, along y."""
    residual: Float64Array
    """(n, 3): light of the source less that of the target in the source's colours."""
    colours: Float64Array
    variance: float

    @classmethod
    def linearise(
        cls, light: PixelValues, seen: tuple[PixelValues, PixelValues, PixelValues], modes: Float64Array
    ) -> _GaussNewtonStep | None:
        terms = np.column_stack([seen[0], np.ones(len(light), np.float32)]).astype(np.float64)
        gram = terms.T @ terms + np.diag([1.0, 1, 1, 0])
        colours = np.linalg.solve(gram, terms.T @ light)
        slopes = np.stack([seen[1] @ colours[:3], seen[2] @ colours[:3]]).astype(np.float64)
        residual = np.asarray(light - terms @ colours, np.float64)
        jacobian = modes[..., :1] * slopes[0] + modes[..., 1:] * slopes[1]
        jacobian -= jacobian.mean(axis=1, keepdims=True)
        variance = float(light.astype(np.float64).var(axis=0).sum())
        step = cls(jacobian, slopes, residual, np.asarray(colours, np.float64), variance)
        return step if np.linalg.cond(step._curvature) < 1e10 and variance > 0 else None

    @property
    def _curvature(self) -> Float64Array:
        flat = self.jacobian.reshape(len(self.jacobian), -1)
        return np.asarray(flat @ flat.T)

    @property
    def movement(self) -> Float64Array:
        flat = self.jacobian.reshape(len(self.jacobian), -1)
        return np.asarray(np.linalg.solve(self._curvature, flat @ self.residual.ravel()))

    def make_fitted_map(self, place: Affine, points: Points, size: Size) -> FittedMap:
        left = float((self.residual**2).mean(axis=0).sum())
        return FittedMap(
            map=place,
            correlation=float(np.sqrt(max(0.0, 1 - left / self.variance))),
            expected_error=self._estimate_error(left / 3, size, place.is_mirrored),
            strain=self._measure_strain(points, size),
            colours=self.colours,
        )

    def _estimate_error(self, noise: float, size: Size, flip: bool) -> float:
        modes = _motion_modes(corner_points(size), size, flip)
        covariance = noise * np.linalg.inv(self._curvature)
        return float(np.sqrt(np.einsum("upi,uv,vpi->p", modes, covariance, modes)).mean())

    def _measure_strain(self, points: Points, size: Size) -> float:
        right, low = points[:, 0] > size.width / 2, points[:, 1] > size.height / 2
        quarters = (right & low, right & ~low, ~right & low, ~right & ~low)
        shifts = [self._remaining_shift(quarter) for quarter in quarters if quarter.any()]
        return float(np.sqrt(np.mean(np.square(shifts)) * 2))

    def _remaining_shift(self, some: npt.NDArray[np.bool_]) -> Float64Array:
        """How far these px alone would still move."""
        slopes, residual = self.slopes[:, some], self.residual[some]
        slopes = (slopes - slopes.mean(axis=1, keepdims=True)).reshape(2, -1)
        residual = (residual - residual.mean(axis=0)).ravel()
        return np.asarray(np.linalg.lstsq(slopes @ slopes.T, slopes @ residual, rcond=1e-6)[0])


def _sample_bilinear(image: npt.NDArray[np.float32], places: npt.NDArray[np.float32]) -> PixelValues:
    """In pieces: OpenCV's tables hold 32767 rows."""
    pieces = np.array_split(places, len(places) // 30_000 + 1)
    rows = [cv2.remap(image, piece[:, :1], piece[:, 1:], cv2.INTER_LINEAR)[:, 0] for piece in pieces]
    return np.concatenate(rows).astype(np.float32)


def _motion_modes(points: Points, size: Size, flip: bool) -> Float64Array:
    """(4, n, 2): what a shift along x, along y, a change of scale and a turn do to points of the source.

    They keep a similarity one; of a mirrored one, mirrored.
    """
    x, y = ((points - [size.width / 2, size.height / 2]) / (max(size.width, size.height) / 2)).T
    one, none, x = np.ones_like(x), np.zeros_like(x), -x if flip else x
    return np.stack([np.column_stack(pair) for pair in ((one, none), (none, one), (x, y), (-y, x))])


def _apply_movement(place: Affine, movement: Float64Array, size: Size) -> Affine:
    at = corner_points(size)
    return Affine.fit(at, place(at) + np.tensordot(movement, _motion_modes(at, size, place.is_mirrored), axes=1))
