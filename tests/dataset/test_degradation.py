"""Laws of seeing a patch as a scanner would store it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import noise
from wsisr.dataset.degradation import scanned
from wsisr.geometry import Size
from wsisr.pixels import shrink


@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([2, 4]), st.integers(0, 99))
def test_the_same_draw_gives_the_same_patch_of_the_right_size(width: int, height: int, scale: int, seed: int) -> None:
    high = noise(Size(width * scale, height * scale))
    first, again = (scanned(high, scale, np.random.default_rng(seed)) for _ in range(2))
    assert first.shape == (height, width, 3)
    np.testing.assert_array_equal(first, again)


@given(st.integers(0, 255), st.integers(0, 99))
def test_grey_stays_grey(level: int, seed: int) -> None:
    flat = np.full((32, 32, 3), level, np.uint8)
    low = scanned(flat, 2, np.random.default_rng(seed))
    assert np.abs(low.astype(int) - level).max() <= 5  # one step of quality 30, for the mean of a block


@pytest.mark.parametrize("seed", range(5))
def test_it_stays_near_the_area_mean(seed: int) -> None:
    hills = np.cumsum(np.cumsum(noise(Size(128, 128))[..., :1].astype(float) - 127, 0), 1)
    smooth = np.interp(hills, (hills.min(), hills.max()), (0, 255)).astype(np.uint8).repeat(3, axis=2)
    low = scanned(smooth, 4, np.random.default_rng(seed))
    assert np.abs(low.astype(int) - shrink(smooth, 4, "area")).mean() < 12
