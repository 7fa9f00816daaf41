"""Sub-pixel translation between two grey images of the same pixel size: phase correlation, then Lucas and Kanade.

This is the registration for levels of one slide, whose only unknown is a small shift. Captures that are turned, scaled
or recoloured need `refine_similarity`, which has four unknowns and three channels. On known shifts both are about
equally accurate; one of them for both purposes would change the stored relations of every dataset of levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from wsisr.dataset.patch_quality import GreyImage

STEPS = 4
"""Steps of Lucas and Kanade after the phase correlation."""

_EDGE_PX = 2
"""Px at the edges of an image that estimates leave out, because a filter that made it reaches beyond it there."""


@dataclass(frozen=True, slots=True)
class Translation:
    """A shift right and down in px, and the correlation of the images after it."""

    dx: float
    dy: float
    correlation: float


def register_translation(source: GreyImage, target: GreyImage) -> Translation:
    """Return the shift of the source that lays it on the target, both (h, w), with free brightness and contrast."""
    window = cv2.createHanningWindow((source.shape[1], source.shape[0]), cv2.CV_32F)
    (dx, dy), _ = cv2.phaseCorrelate(source - source.mean(), target - target.mean(), window)
    if max(abs(dx), abs(dy)) > min(source.shape) / 4:
        dx = dy = 0.0  # too far to be a shift of the same tissue
    for _ in range(STEPS):
        # Gradients predict a step of up to a pixel; a larger one is an overshoot.
        step_x, step_y = _solve_step(_shift_image(source, dx, dy), target)
        dx, dy = dx + float(np.clip(step_x, -1, 1)), dy + float(np.clip(step_y, -1, 1))
    shifted = _crop_edge(_shift_image(source, dx, dy), dx, dy)
    return Translation(dx, dy, _correlate(shifted, _crop_edge(target, dx, dy)))


def _solve_step(image: GreyImage, target: GreyImage) -> tuple[float, float]:
    """Return the further shift of the image right and down, with free brightness and contrast."""
    gradient_y, gradient_x = (np.asarray(gradient, np.float32) for gradient in np.gradient(image))
    columns = [_crop_edge(column) for column in (-gradient_x, -gradient_y, image, np.ones_like(image))]
    rows = np.stack([column.ravel() for column in columns], axis=1).astype(np.float64)
    solution = np.linalg.lstsq(rows, _crop_edge(target).ravel().astype(np.float64), rcond=None)[0]
    gain = solution[2] if abs(solution[2]) > 0.1 else 1.0
    return float(solution[0] / gain), float(solution[1] / gain)


def _shift_image(image: GreyImage, dx: float, dy: float) -> GreyImage:
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
    size = (image.shape[1], image.shape[0])
    # Bicubic: a bilinear shift would blur the image by an amount that depends on the shift.
    shifted = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(shifted, np.float32)


def _crop_edge(image: GreyImage, dx: float = 0, dy: float = 0) -> GreyImage:
    edge = min(_EDGE_PX + int(max(abs(dx), abs(dy))), (min(image.shape) - 2) // 2)
    return image[edge:-edge, edge:-edge]


def _correlate(first: GreyImage, second: GreyImage) -> float:
    first_deviation = first - first.mean(dtype=np.float64)
    second_deviation = second - second.mean(dtype=np.float64)
    norm = float(np.sqrt((first_deviation**2).sum() * (second_deviation**2).sum()))
    return float((first_deviation * second_deviation).sum()) / norm if norm > 0 else 0.0
