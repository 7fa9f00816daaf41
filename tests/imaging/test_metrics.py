"""Laws of PSNR and SSIM, and a slow second implementation of SSIM that follows the paper literally."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import make_noise
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.metrics import (
    compute_psnr,
    compute_ssim,
    count_ssim_windows,
    mean_squared_error,
    psnr_from_error,
    square_differences,
    sum_ssim,
)
from wsisr.imaging.pixels import Rgb, enlarge_image, shrink_image
from wsisr.slides import open_slide

SIZES = st.builds(Size, st.integers(11, 40), st.integers(11, 40))
SEEDS = st.integers(0, 1000)


def compute_slow_ssim(image: Rgb, truth: Rgb) -> float:
    """Wang et al. 2004, window by window."""
    row = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    weights = np.outer(row, row) / np.outer(row, row).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for colour in range(3):
        for top in range(truth.shape[0] - 10):
            for left in range(truth.shape[1] - 10):
                x = image[top : top + 11, left : left + 11, colour].astype(float)
                y = truth[top : top + 11, left : left + 11, colour].astype(float)
                mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
                var_x, var_y = (weights * (x - mean_x) ** 2).sum(), (weights * (y - mean_y) ** 2).sum()
                covariance = (weights * (x - mean_x) * (y - mean_y)).sum()
                luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
                values.append(luminance * (2 * covariance + c2) / (var_x + var_y + c2))
    return float(np.mean(values))


def compute_exact_ssim(image: Rgb, truth: Rgb) -> float:
    """The same formula in float64, with moments from sums of shifted images: fast enough for real patches."""
    row = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    row /= row.sum()

    def average(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        height, width = values.shape[0] - 10, values.shape[1] - 10
        rows = sum(row[i] * values[i : i + height] for i in range(11))
        return np.asarray(sum(row[i] * rows[:, i : i + width] for i in range(11)))

    x, y = image.astype(np.float64), truth.astype(np.float64)
    mean_x, mean_y = average(x), average(y)
    var_x, var_y = average(x * x) - mean_x**2, average(y * y) - mean_y**2
    covariance = average(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float((luminance * (2 * covariance + c2) / (var_x + var_y + c2)).mean())


def make_pale(size: Size, seed: int) -> Rgb:
    """Return an almost constant bright image, on which float32 is least exact."""
    return (250 + make_noise(size, seed) % 4).astype(np.uint8)


def make_dark(size: Size, seed: int) -> Rgb:
    return (make_noise(size, seed) % 3).astype(np.uint8)


@given(SIZES, SEEDS)
def test_psnr_of_equal_images_is_infinite(size: Size, seed: int) -> None:
    assert math.isinf(compute_psnr(make_noise(size, seed), make_noise(size, seed)))


def test_psnr_of_a_known_error() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    assert mean_squared_error(black + np.uint8(5), black) == 25
    assert compute_psnr(black + np.uint8(255), black) == 0
    assert psnr_from_error(255**2 / 100) == pytest.approx(20)


def test_squared_differences_of_the_extremes_do_not_wrap() -> None:
    black = np.zeros((2, 2, 3), np.uint8)
    assert (square_differences(black, black + np.uint8(255)) == 255**2).all()


@given(SIZES, SEEDS)
def test_ssim_of_equal_images_is_one(size: Size, seed: int) -> None:
    assert compute_ssim(make_noise(size, seed), make_noise(size, seed)) == pytest.approx(1, abs=1e-12)


@given(SIZES, SEEDS, SEEDS)
def test_ssim_is_symmetric_and_within_its_range(size: Size, one: int, other: int) -> None:
    value = compute_ssim(make_noise(size, one), make_noise(size, other))
    assert value == compute_ssim(make_noise(size, other), make_noise(size, one))
    assert -1 - 1e-6 <= value <= 1 + 1e-6


def test_ssim_of_an_image_and_its_negative_is_below_zero() -> None:
    image = make_noise(Size(20, 20))
    assert compute_ssim(image, 255 - image) < 0


@pytest.mark.parametrize("size", [Size(11, 11), Size(18, 14)])
@pytest.mark.parametrize("make", [make_noise, make_pale, make_dark])
def test_ssim_is_that_of_the_paper(size: Size, make: Callable[[Size, int], Rgb]) -> None:
    image, truth = make(size, 1), make(size, 2)
    assert compute_ssim(image, truth) == pytest.approx(compute_slow_ssim(image, truth), abs=1e-6)


def test_the_two_formulas_of_these_tests_agree() -> None:
    image, truth = make_noise(Size(18, 14), 1), make_noise(Size(18, 14), 2)
    assert compute_exact_ssim(image, truth) == pytest.approx(compute_slow_ssim(image, truth), abs=1e-12)


@pytest.mark.parametrize(("left", "top"), [(330, 1000), (1200, 300), (0, 0), (1800, 2400)])
@pytest.mark.parametrize("scale", [2, 4])
def test_ssim_of_real_patches_is_exact(cmu_slide: Path, left: int, top: int, scale: int) -> None:
    """Only windows inside a patch count: no mirrored border, which would be off by 3e-3."""
    with open_slide(cmu_slide) as slide:
        truth = slide.read(Box(left, top, left + 256, top + 256), 0)
    image = enlarge_image(shrink_image(truth, scale, "area"), scale, "bicubic")
    assert compute_ssim(image, truth) == pytest.approx(compute_exact_ssim(image, truth), abs=1e-7)


@given(st.integers(12, 60), st.data())
def test_ssim_sums_of_abutting_parts_add_up_to_the_whole(height: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, height - 11))
    image, truth = make_noise(Size(30, height), 1), make_noise(Size(30, height), 2)
    whole = sum_ssim([image], truth)[0]
    above, below = slice(0, cut + 10), slice(cut, height)
    parts = sum_ssim([image[above]], truth[above])[0] + sum_ssim([image[below]], truth[below])[0]
    assert parts == pytest.approx(whole, abs=1e-9)
    assert count_ssim_windows(truth[above]) + count_ssim_windows(truth[below]) == count_ssim_windows(truth)


def test_ssim_does_not_depend_on_the_strips_it_is_computed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    image, truth = make_noise(Size(40, 100), 1), make_noise(Size(40, 100), 2)
    whole = compute_ssim(image, truth)
    monkeypatch.setattr("wsisr.imaging.metrics._VALUES_PER_STRIP", 1)
    assert compute_ssim(image, truth) == pytest.approx(whole, abs=1e-12)


def test_several_images_of_one_truth_score_as_each_alone() -> None:
    truth, images = make_noise(Size(20, 20)), [make_noise(Size(20, 20), seed) for seed in (1, 2)]
    assert sum_ssim(images, truth) == [sum_ssim([image], truth)[0] for image in images]


@pytest.mark.parametrize("size", [Size(10, 30), Size(30, 10), Size(5, 5)])
def test_an_image_without_a_window_adds_nothing(size: Size) -> None:
    assert (count_ssim_windows(make_noise(size)), sum_ssim([make_noise(size)], make_noise(size))) == (0, [0.0])
