"""Colour matching of two registered captures: an affine map of RGB, fitted once over all their patches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from wsisr.dataset.registration.refinement import Float64Array, PixelValues
from wsisr.imaging.pixels import Rgb

COLOUR_BLUR_PX = 4
"""Standard deviation, in px of the coarser capture, of the blur through which colours are compared."""


@dataclass(frozen=True, slots=True, eq=False)
class ColourMatch:
    """The affine map from the colours of the finer capture to those of the coarser one."""

    matrix: Float64Array
    """(4, 3): the contributions of R, G, B and 1 of the finer capture to R, G and B of the coarser one."""

    @classmethod
    def fit(cls, samples: Iterable[tuple[Float64Array, Float64Array]]) -> ColourMatch:
        """Fit by least squares over all samples, pairs of (n, 3) of the finer and of the coarser capture."""
        gram, product = np.zeros((4, 4)), np.zeros((4, 3))
        for high, low in samples:
            terms = np.column_stack([high, np.ones(len(high))])
            gram += terms.T @ terms
            product += terms.T @ low
        # The ridge keeps this solvable for grey images, whose channels are collinear.
        return cls(np.asarray(np.linalg.solve(gram + np.diag([1.0, 1, 1, 0]), product)))

    def apply(self, image: Float64Array) -> Float64Array:
        """Map (h, w, 3) of grey levels of the finer capture to the colours of the coarser one."""
        return np.asarray(image @ self.matrix[:3] + self.matrix[3])

    def describe(self) -> str:
        """Return the formula of each channel as text."""
        formulas = (f"{r:.3f} R {g:+.3f} G {b:+.3f} B {one:+.1f}" for r, g, b, one in self.matrix.T)
        return "; ".join(f"{channel} = {formula}" for channel, formula in zip("RGB", formulas, strict=True))


def sample_colours(image: Rgb | PixelValues) -> Float64Array:
    """Blur (h, w, 3) and thin it out to (n, 3) of grey levels.

    Fine structure differs by blur, noise and JPEG, and would pull the fitted colours towards grey.
    """
    # After the blur, neighbours within its standard deviation say nearly the same.
    blurred = cv2.GaussianBlur(image.astype(np.float32), (0, 0), COLOUR_BLUR_PX)
    return np.asarray(blurred[::COLOUR_BLUR_PX, ::COLOUR_BLUR_PX].reshape(-1, 3), np.float64)
