"""Laws of resampling."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import CMU_SLIDE, make_noise
from wsisr.imaging.bicubic import enlarge_bicubic
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import average_blocks, enlarge_image, halve_image, shrink_image, shrink_to_size
from wsisr.imaging.resampling import ResampledGrid
from wsisr.slides import open_slide

sides = st.integers(1, 40)


def round_exactly(sums: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.uint8]:
    """Sums divided by a count, ties to even, in whole numbers only."""
    quotient, rest = np.divmod(sums, count)
    return np.asarray(quotient + (2 * rest + quotient % 2 > count), np.uint8)


@given(
    st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 2, 3, 4, 5, 6, 8, 12, 16, 17, 40]), st.integers(0, 9)
)
def test_an_area_mean_is_the_exact_mean_rounded_once_ties_to_even(
    width: int, height: int, factor: int, seed: int
) -> None:
    image = make_noise(Size(width * factor, height * factor), seed) // (1 + 200 * (seed % 2))  # ties, too
    sums = image.reshape(height, factor, width, factor, 3).sum(axis=(1, 3), dtype=np.int64)
    expected = round_exactly(sums, factor**2)
    np.testing.assert_array_equal(average_blocks(image, factor), expected)
    np.testing.assert_array_equal(shrink_to_size(image, width, height), expected)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(0, 9))
def test_an_area_mean_by_a_fraction_is_the_exact_mean_too(
    width: int, height: int, more: int, higher: int, seed: int
) -> None:
    image = make_noise(Size(width + more, height + higher), seed)
    repeated = image.repeat(height, axis=0).repeat(width, axis=1).astype(np.int64)
    sums = repeated.reshape(height, height + higher, width, width + more, 3).sum(axis=(1, 3))
    count = (height + higher) * (width + more)
    size = Size(width + more, height + higher)
    grid = ResampledGrid(size, (size.width / width, size.height / height))
    exact = grid.read(Box(0, 0, width, height), lambda box: image[box.rows, box.columns])
    np.testing.assert_array_equal(exact, round_exactly(sums, count))
    assert np.abs(shrink_to_size(image, width, height) - sums / count).max() < 0.5001


@pytest.mark.parametrize("factor", [2, 3, 4, 6, 1.25, 1.6, 3.2])
def test_an_area_mean_makes_no_image_lighter_or_darker(factor: float) -> None:
    with open_slide(CMU_SLIDE) as slide:
        tissue = slide.read(Box(900, 1200, 1380, 1680), 0)
    side = round(480 / factor)
    for image in (tissue, make_noise(Size(480, 480))):
        smaller = average_blocks(image, int(factor)) if factor in (2, 3, 4, 6) else shrink_to_size(image, side, side)
        assert smaller.mean() == pytest.approx(image.mean(), abs=0.01)


@given(sides, sides, st.integers(0, 9))
def test_halving_is_the_2x2_mean_rounded_once_ties_to_even(width: int, height: int, seed: int) -> None:
    image = make_noise(Size(width, height), seed)
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge").astype(int)
    total = even[0::2, 0::2] + even[0::2, 1::2] + even[1::2, 0::2] + even[1::2, 1::2]
    np.testing.assert_array_equal(halve_image(image), round_exactly(total, 4))


@given(sides, sides, st.sampled_from([2, 4]), st.sampled_from(["bicubic", "lanczos"]))
def test_enlarging_and_shrinking_keep_a_constant_image_and_the_size(
    width: int, height: int, scale: int, kernel: str
) -> None:
    flat = np.full((height, width, 3), (250, 17, 128), np.uint8)
    larger = enlarge_image(flat, scale, kernel)  # type: ignore[arg-type]
    assert larger.shape == (height * scale, width * scale, 3)
    assert np.unique(larger.reshape(-1, 3), axis=0).tolist() == [[250, 17, 128]]
    np.testing.assert_array_equal(shrink_image(larger, scale, kernel), flat)  # type: ignore[arg-type]


@given(sides, sides, st.sampled_from([2, 4]))
def test_area_undoes_repetition(width: int, height: int, scale: int) -> None:
    image = make_noise(Size(width, height))
    repeated = image.repeat(scale, axis=0).repeat(scale, axis=1)
    np.testing.assert_array_equal(shrink_image(repeated, scale, "area"), image)


@given(sides, sides, st.sampled_from([2, 3, 4]), st.integers(0, 9), st.booleans())
def test_bicubic_is_pillows(width: int, height: int, scale: int, seed: int, hard: bool) -> None:
    image = make_noise(Size(width, height), seed)
    if hard:  # the widest sums, and the most that is cut off
        image = np.where(image < 128, np.uint8(0), np.uint8(255))
    np.testing.assert_array_equal(enlarge_bicubic(image, scale), enlarge_image(image, scale, "bicubic"))


@pytest.mark.parametrize("kernel", ["area", "bicubic", "lanczos"])
@pytest.mark.parametrize("scale", [2, 4])
@given(seed=st.integers(0, 10**6))
def test_shrinking_keeps_the_mean(scale: int, kernel: str, seed: int) -> None:
    smooth = shrink_image(make_noise(Size(256, 256), seed), 4, "area") // 2 + 64  # nothing that clipping would cut off
    shrunk = shrink_image(smooth, scale, kernel)  # type: ignore[arg-type]
    # Rounding moves each pixel by half a grey level at the most; filters wider than a pixel lean on the border.
    assert shrunk.mean() == pytest.approx(smooth.mean(), abs=0.6 if kernel == "area" else 1.2)
