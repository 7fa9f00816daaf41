"""Sub-pixel registration of one image in another by Gauss-Newton on grey levels, from a start a few pixels off.

The colours of the target are fitted to those of the source by an affine map of RGB at every step, so that recolouring
costs no accuracy and two stains of one tissue still correlate. A finer target is blurred first to the detail that the
source can show. The last step also yields the measures for the acceptance limits: correlation, expected error, and the
remaining shift of each quarter of the source.
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
"""Grey levels or their gradients, with 3 channels: (n, 3), one row per px, or (h, w, 3)."""

Float64Array: TypeAlias = npt.NDArray[np.float64]

COARSE_VIEW_SIGMA_PX = 0.6
"""Standard deviation of the blur that makes a finer image look like a coarser one, in px of the coarser; measured."""

MAX_STEPS = 20
"""Most Gauss-Newton steps."""

CONVERGED_PX = 0.002
"""Movement of the border in a step, in px of the source, below which the search has converged."""

MIN_INSIDE_SHARE = 0.01
"""Smallest share of the source that must lie within the target."""


@dataclass(frozen=True, slots=True, eq=False)
class FittedMap:
    """A fitted map and its quality. Distances are in px of the target."""

    map: Affine
    correlation: float
    """Correlation of the source with the registered and recoloured target: root of the share of explained variance."""
    expected_error: float
    """Mean error of the corners that noise as strong as the residual would cause."""
    strain: float
    """Root mean square of the remaining shifts of the quarters of the source, each fitted alone."""
    colours: Float64Array
    """(4, 3): the contributions of R, G, B and 1 of the target to R, G and B of the source."""


@dataclass(frozen=True, slots=True)
class RegistrationTarget:
    """An image prepared as the target of a registration: blurred to the detail of the source, with its gradients."""

    size: Size
    light: PixelValues
    gradient_x: PixelValues
    gradient_y: PixelValues

    @classmethod
    def prepare(cls, image: Rgb, scale: float) -> RegistrationTarget:
        """Prepare an image as a source with px `scale` times as large would show it."""
        sigma = max(COARSE_VIEW_SIGMA_PX * scale, 0.3)
        light = np.asarray(cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma), np.float32)
        gradient_y, gradient_x = (np.asarray(np.gradient(light, axis=axis), np.float32) for axis in (0, 1))
        return cls(Size(image.shape[1], image.shape[0]), light, gradient_x, gradient_y)

    def contains(self, points: Points) -> npt.NDArray[np.bool_]:
        """Tell for each point whether bilinear sampling there stays within the image."""
        limits = np.array([self.size.width, self.size.height]) - 0.5
        return np.asarray(((points > 0.5) & (points < limits)).all(axis=1))

    def resample(self, source_to_target: Affine, size: Size) -> PixelValues:
        """Resample the target to (h, w, 3) on the grid of a source of this size; borders are repeated."""
        matrix, shape = source_to_target.opencv_matrix, (size.width, size.height)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(self.light, matrix, shape, flags=flags, borderMode=cv2.BORDER_REPLICATE))

    def sample(self, points: Points) -> tuple[PixelValues, PixelValues, PixelValues]:
        """Return light and its gradients along x and y at the points, bilinear."""
        centres = (points - 0.5).astype(np.float32)
        light, gradient_x, gradient_y = (
            _sample_bilinear(image, centres) for image in (self.light, self.gradient_x, self.gradient_y)
        )
        return light, gradient_x, gradient_y


@dataclass(frozen=True, slots=True)
class _SourceGrid:
    """The pixel centres of the source, and their displacement by each unknown of the motion."""

    points: Points
    modes: Float64Array
    """(unknowns, points, 2), see `_motion_modes`."""

    @classmethod
    def for_size(cls, size: Size, mirrored: bool) -> _SourceGrid:
        x, y = np.meshgrid(np.arange(size.width) + 0.5, np.arange(size.height) + 0.5)
        points = np.column_stack([x.ravel(), y.ravel()])
        return cls(points, _motion_modes(points, size, mirrored))


def refine_similarity(source: Rgb, target: RegistrationTarget, start: Affine) -> FittedMap | None:
    """Fit the similarity near `start` from the source to the target.

    Returns None if it leads out of the target or there is no structure to fit.
    """
    size = Size(source.shape[1], source.shape[0])
    grid, light = _SourceGrid.for_size(size, start.is_mirrored), source.reshape(-1, 3).astype(np.float32)
    source_to_target = start
    for remaining in reversed(range(MAX_STEPS)):
        points = source_to_target(grid.points)
        inside = target.contains(points)
        if float(inside.mean()) < MIN_INSIDE_SHARE:
            return None
        step = _GaussNewtonStep.linearise(light[inside], target.sample(points[inside]), grid.modes[:, inside])
        if step is None:
            return None
        source_to_target = _apply_movement(source_to_target, step.movement, size)
        if np.abs(step.movement).max() < CONVERGED_PX * start.scale or not remaining:
            return step.make_fitted_map(source_to_target, grid.points[inside], size)
    raise AssertionError("the last step returns")


@dataclass(frozen=True, slots=True)
class _GaussNewtonStep:
    """The linear least-squares problem at the current map."""

    jacobian: Float64Array
    """(unknowns, n, 3): how light changes with each unknown."""
    slopes: Float64Array
    """(2, n, 3): how light changes when a px alone moves along x or y."""
    residual: Float64Array
    """(n, 3): light of the source minus that of the target in the colours of the source."""
    colours: Float64Array
    variance: float

    @classmethod
    def linearise(
        cls, light: PixelValues, target: tuple[PixelValues, PixelValues, PixelValues], modes: Float64Array
    ) -> _GaussNewtonStep | None:
        """Fit the colours and linearise; None if ill-conditioned. `target` is its light and gradients."""
        terms = np.column_stack([target[0], np.ones(len(light), np.float32)]).astype(np.float64)
        # The ridge keeps this solvable for grey images, whose channels are collinear.
        gram = terms.T @ terms + np.diag([1.0, 1, 1, 0])
        colours = np.linalg.solve(gram, terms.T @ light)
        slopes = np.stack([target[1] @ colours[:3], target[2] @ colours[:3]]).astype(np.float64)
        residual = np.asarray(light - terms @ colours, np.float64)
        jacobian = modes[..., :1] * slopes[0] + modes[..., 1:] * slopes[1]
        # The constant term of the colours absorbs any change of the mean.
        jacobian -= jacobian.mean(axis=1, keepdims=True)
        variance = float(light.astype(np.float64).var(axis=0).sum())
        step = cls(jacobian, slopes, residual, np.asarray(colours, np.float64), variance)
        # Structure along one direction only, such as a straight edge, leaves the shift along it undetermined.
        return step if np.linalg.cond(step._curvature) < 1e10 and variance > 0 else None

    @property
    def _curvature(self) -> Float64Array:
        flat = self.jacobian.reshape(len(self.jacobian), -1)
        return np.asarray(flat @ flat.T)

    @property
    def movement(self) -> Float64Array:
        """The step of each unknown of `_motion_modes`."""
        flat = self.jacobian.reshape(len(self.jacobian), -1)
        return np.asarray(np.linalg.solve(self._curvature, flat @ self.residual.ravel()))

    def make_fitted_map(self, source_to_target: Affine, points: Points, size: Size) -> FittedMap:
        """Return a map with the quality measures of this step, which led to it."""
        unexplained = float((self.residual**2).mean(axis=0).sum())
        return FittedMap(
            map=source_to_target,
            correlation=float(np.sqrt(max(0.0, 1 - unexplained / self.variance))),
            expected_error=self._estimate_error(unexplained / 3, size, source_to_target.is_mirrored),
            strain=self._measure_strain(points, size),
            colours=self.colours,
        )

    def _estimate_error(self, noise_variance: float, size: Size, mirrored: bool) -> float:
        modes = _motion_modes(corner_points(size), size, mirrored)
        covariance = noise_variance * np.linalg.inv(self._curvature)
        return float(np.sqrt(np.einsum("upi,uv,vpi->p", modes, covariance, modes)).mean())

    def _measure_strain(self, points: Points, size: Size) -> float:
        right, bottom = points[:, 0] > size.width / 2, points[:, 1] > size.height / 2
        quarters = (right & bottom, right & ~bottom, ~right & bottom, ~right & ~bottom)
        shifts = [self._remaining_shift(quarter) for quarter in quarters if quarter.any()]
        # Twice the mean over both axes is the mean squared length.
        return float(np.sqrt(np.mean(np.square(shifts)) * 2))

    def _remaining_shift(self, selected: npt.NDArray[np.bool_]) -> Float64Array:
        """Return x and y by which the selected px alone would still shift."""
        slopes, residual = self.slopes[:, selected], self.residual[selected]
        slopes = (slopes - slopes.mean(axis=1, keepdims=True)).reshape(2, -1)
        residual = (residual - residual.mean(axis=0)).ravel()
        return np.asarray(np.linalg.lstsq(slopes @ slopes.T, slopes @ residual, rcond=1e-6)[0])


def _sample_bilinear(image: PixelValues, centres: npt.NDArray[np.float32]) -> PixelValues:
    """Sample (n, 3) at (n, 2) in pixel-centre coordinates."""
    # In pieces: cv2.remap accepts at most 32767 rows.
    pieces = np.array_split(centres, len(centres) // 30_000 + 1)
    rows = [cv2.remap(image, piece[:, :1], piece[:, 1:], cv2.INTER_LINEAR)[:, 0] for piece in pieces]
    return np.concatenate(rows).astype(np.float32)


def _motion_modes(points: Points, size: Size, mirrored: bool) -> Float64Array:
    """Return (4, n, 2): displacements of points by a shift along x, along y, a change of scale and a turn.

    Scale and turn are about the centre and displace the border by 1. A similarity stays one, mirrored or not.
    """
    x, y = ((points - [size.width / 2, size.height / 2]) / (max(size.width, size.height) / 2)).T
    ones, zeros, x = np.ones_like(x), np.zeros_like(x), -x if mirrored else x
    return np.stack([np.column_stack(pair) for pair in ((ones, zeros), (zeros, ones), (x, y), (-y, x))])


def _apply_movement(source_to_target: Affine, movement: Float64Array, size: Size) -> Affine:
    corners = corner_points(size)
    displacements = np.tensordot(movement, _motion_modes(corners, size, source_to_target.is_mirrored), axes=1)
    return Affine.fit(corners, source_to_target(corners) + displacements)
