"""Laws of resampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import make_noise
from wsisr.imaging.bicubic import enlarge_bicubic
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import enlarge_image, halve_image, shrink_image

sides = st.integers(1, 40)


@given(sides, sides, st.integers(0, 9))
def test_halving_is_the_2x2_mean_rounded_half_up(width: int, height: int, seed: int) -> None:
    image = make_noise(Size(width, height), seed)
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge").astype(int)
    total = even[0::2, 0::2] + even[0::2, 1::2] + even[1::2, 0::2] + even[1::2, 1::2]
    np.testing.assert_array_equal(halve_image(image), (total + 2) // 4)


@given(sides, sides, st.sampled_from([2, 4]), st.sampled_from(["area", "bicubic", "lanczos"]))
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
