"""Laws of choosing and shrinking the pixels that are enlarged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import Picture, noise
from wsisr.errors import SlideError
from wsisr.geometry import Box, Size
from wsisr.pixels import area_mean, shrink
from wsisr.source import Source, source_of

PICTURE = Picture(noise(Size(240, 180)), mpp=0.25)


@given(st.floats(1.0, 7.5) | st.sampled_from([1.02, 1.1, 1.3, 1.5, 1.7, 2.1, 3.0, 3.3]), st.data())
def test_a_box_is_the_same_pixels_whichever_box_it_is_read_in(factor: float, data: st.DataObject) -> None:
    source = Source(PICTURE, 0, factor)
    whole = source.read(Box.of(source.size))
    left = data.draw(st.integers(0, source.size.width - 1))
    top = data.draw(st.integers(0, source.size.height - 1))
    right = data.draw(st.integers(left + 1, source.size.width))
    bottom = data.draw(st.integers(top + 1, source.size.height))
    part = source.read(Box(left, top, right, bottom))
    np.testing.assert_array_equal(part, whole[top:bottom, left:right])


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 7), st.integers(1, 7))
def test_a_pixel_that_an_edge_cuts_counts_by_its_share(width: int, height: int, more: int, over: int) -> None:
    image, factor = noise(Size(width, height)), 1 + more / over
    columns, rows = (np.arange(int(n / factor) + 1) * factor for n in (width, height))
    if min(len(rows), len(columns)) < 2:
        return
    fine = image.repeat(over, axis=0).repeat(over, axis=1)  # in which every edge falls between two pixels
    side = over + more
    cells = fine[: (len(rows) - 1) * side, : (len(columns) - 1) * side].astype(float)
    exact = cells.reshape(len(rows) - 1, side, len(columns) - 1, side, 3).mean(axis=(1, 3))
    assert np.abs(area_mean(image, rows, columns) - exact).max() <= 0.5 + 1e-5


def test_a_whole_factor_is_the_area_mean() -> None:
    source = source_of(PICTURE, mpp=0.75)
    assert np.abs(source.read(Box.of(source.size)).astype(int) - shrink(PICTURE.pixels, 3, "area")).max() <= 1
    assert source.mpp == pytest.approx(0.75)


def test_a_pitch_within_one_percent_is_not_resampled() -> None:
    assert source_of(PICTURE, mpp=0.2505).factor == 1


def test_a_pitch_finer_than_the_slide_is_refused() -> None:
    with pytest.raises(SlideError, match=r"coarser than 0\.1"):
        source_of(PICTURE, mpp=0.1)


def test_a_pitch_asked_of_a_slide_without_one_is_refused() -> None:
    with pytest.raises(SlideError, match="--mpp"):
        source_of(Picture(PICTURE.pixels, mpp=None), mpp=1.0)


def test_a_level_that_is_not_there_is_refused() -> None:
    with pytest.raises(SlideError, match="level 5"):
        source_of(PICTURE, level=5)
