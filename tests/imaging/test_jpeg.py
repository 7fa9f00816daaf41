"""Recompression hides the quality at which a level was stored."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.captures import make_tissue
from wsisr.imaging.jpeg import recompress_at_random_quality, recompress_for_classifier, recompress_jpeg
from wsisr.imaging.pixels import Rgb

PATCHES = 160
NATIVE = (85, 94)
"""JPEG qualities at which one slide's levels were stored."""


def measure_artefacts(image: Rgb) -> list[float]:
    """Return JPEG artefacts: steps at each of 8 columns and rows, and how often a DCT coefficient is about 0."""
    grey = image[..., 1].astype(np.float64) - 128
    steps = [
        np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis)[start::8].mean() for axis in (0, 1) for start in range(8)
    ]
    side = len(grey) // 8
    blocks = grey[: 8 * side, : 8 * side].reshape(side, 8, side, 8).swapaxes(1, 2)
    places = np.arange(8)
    cosines = np.cos((2 * places[:, None] + 1) * places * np.pi / 16) * np.where(places, 0.5, 8**-0.5)
    coefficients = cosines.T @ blocks @ cosines
    return [*np.log(steps), *(np.abs(coefficients) < 1).mean(axis=(0, 1)).ravel()]


def classify_levels(first: list[Rgb], second: list[Rgb]) -> float:
    """Return the accuracy on the second half of a linear classifier fitted to the first by least squares."""
    values = np.array([measure_artefacts(image) for pair in zip(first, second, strict=True) for image in pair])
    values = np.column_stack([(values - values.mean(axis=0)) / (values.std(axis=0) + 1e-9), np.ones(len(values))])
    due, half = np.tile([1.0, -1.0], len(first)), len(first)
    gram = values[:half].T @ values[:half] + 3 * np.eye(values.shape[1])
    weights = np.linalg.solve(gram, values[:half].T @ due[:half])
    return float(np.mean((values[half:] @ weights > 0) == (due[half:] > 0)))


@pytest.fixture(scope="module")
def levels() -> list[list[Rgb]]:
    """The same patches at both qualities."""
    images = [make_tissue(seed) for seed in range(4)]
    patches = [
        image[top : top + 96, left : left + 96]
        for image in images
        for top in range(0, 545, 88)
        for left in range(0, 545, 88)
    ]
    return [[recompress_jpeg(patch, quality) for patch in patches[:PATCHES]] for quality in NATIVE]


def crop_at_random(image: Rgb, random: np.random.Generator) -> Rgb:
    top, left = random.integers(8, size=2)
    return image[top : top + 88, left : left + 88]


def test_qualities_can_be_classified_before_recompression_and_hardly_after(levels: list[list[Rgb]]) -> None:
    random = np.random.default_rng(0)
    before = classify_levels(*levels)
    in_training = classify_levels(
        *([recompress_at_random_quality(crop_at_random(patch, random), random) for patch in level] for level in levels)
    )
    in_use = classify_levels(*([recompress_for_classifier(patch) for patch in level] for level in levels))
    assert before > 0.95
    assert in_training < 0.65
    assert in_use < 0.7


@pytest.mark.parametrize("side", [1, 8, 9, 64])
def test_an_image_shrinks_only_by_the_shift_of_the_grid(side: int) -> None:
    result = recompress_for_classifier(np.full((side, side, 3), 200, np.uint8))
    assert result.shape == ((side, side, 3) if side <= 8 else (side - 4, side - 4, 3))
    assert np.abs(result.astype(int) - 200).max() <= 2
