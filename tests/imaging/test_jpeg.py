"""Compression made alike: what tells two qualities apart before tells little after."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.captures import make_tissue
from wsisr.imaging.jpeg import recompress_at_random_quality, recompress_for_classifier, recompress_jpeg
from wsisr.imaging.pixels import Rgb

PATCHES = 160
NATIVE = (85, 94)
"""JPEG qualities at which one slide's levels were stored."""


def marks(image: Rgb) -> list[float]:
    """What JPEG leaves: steps at each of 8 columns and rows, and how often a coefficient of a block is about 0."""
    grey = image[..., 1].astype(np.float64) - 128
    steps = [
        np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis)[start::8].mean() for axis in (0, 1) for start in range(8)
    ]
    side = len(grey) // 8
    blocks = grey[: 8 * side, : 8 * side].reshape(side, 8, side, 8).swapaxes(1, 2)
    places = np.arange(8)
    cosines = np.cos((2 * places[:, None] + 1) * places * np.pi / 16) * np.where(places, 0.5, 8**-0.5)
    found = cosines.T @ blocks @ cosines
    return [*np.log(steps), *(np.abs(found) < 1).mean(axis=(0, 1)).ravel()]


def told_apart(first: list[Rgb], second: list[Rgb]) -> float:
    """Share of the second half that a linear classifier gets right, fitted on the first by least squares."""
    values = np.array([marks(image) for pair in zip(first, second, strict=True) for image in pair])
    values = np.column_stack([(values - values.mean(axis=0)) / (values.std(axis=0) + 1e-9), np.ones(len(values))])
    due, half = np.tile([1.0, -1.0], len(first)), len(first)
    gram = values[:half].T @ values[:half] + 3 * np.eye(values.shape[1])
    weights = np.linalg.solve(gram, values[:half].T @ due[:half])
    return float(np.mean((values[half:] @ weights > 0) == (due[half:] > 0)))


@pytest.fixture(scope="module")
def levels() -> list[list[Rgb]]:
    """The same patches at either quality."""
    whole = [make_tissue(seed) for seed in range(4)]
    patches = [
        each[top : top + 96, left : left + 96]
        for each in whole
        for top in range(0, 545, 88)
        for left in range(0, 545, 88)
    ]
    return [[recompress_jpeg(patch, quality) for patch in patches[:PATCHES]] for quality in NATIVE]


def cropped(image: Rgb, random: np.random.Generator) -> Rgb:
    top, left = random.integers(8, size=2)
    return image[top : top + 88, left : left + 88]


def test_qualities_are_told_apart_before_and_hardly_after(levels: list[list[Rgb]]) -> None:
    random = np.random.default_rng(0)
    before = told_apart(*levels)
    in_training = told_apart(
        *([recompress_at_random_quality(cropped(each, random), random) for each in level] for level in levels)
    )
    in_use = told_apart(*([recompress_for_classifier(each) for each in level] for level in levels))
    assert before > 0.95
    assert in_training < 0.65
    assert in_use < 0.7


@pytest.mark.parametrize("side", [1, 8, 9, 64])
def test_a_window_keeps_its_size_but_for_what_the_grid_is_moved_by(side: int) -> None:
    seen = recompress_for_classifier(np.full((side, side, 3), 200, np.uint8))
    assert seen.shape == ((side, side, 3) if side <= 8 else (side - 4, side - 4, 3))
    assert np.abs(seen.astype(int) - 200).max() <= 2
