"""Laws of choosing and shrinking the pixels that are enlarged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import Picture, noise
from wsisr.errors import SlideError
from wsisr.geometry import Box, Size
from wsisr.pixels import shrink
from wsisr.source import Source, source_of

PICTURE = Picture(noise(Size(240, 180)), mpp=0.25)


@given(st.floats(1.0, 7.5), st.data())
def test_a_box_is_the_same_pixels_whichever_box_it_is_read_in(factor: float, data: st.DataObject) -> None:
    source = Source(PICTURE, 0, factor)
    whole = source.read(Box.of(source.size))
    left = data.draw(st.integers(0, source.size.width - 1))
    top = data.draw(st.integers(0, source.size.height - 1))
    right = data.draw(st.integers(left + 1, source.size.width))
    bottom = data.draw(st.integers(top + 1, source.size.height))
    part = source.read(Box(left, top, right, bottom))
    # Pillow rounds its weights, and with them a value now and then.
    assert np.abs(part.astype(int) - whole[top:bottom, left:right]).max() <= 1


def test_a_whole_factor_is_the_area_mean() -> None:
    source = source_of(PICTURE, mpp=0.75)
    np.testing.assert_array_equal(source.read(Box.of(source.size)), shrink(PICTURE.pixels, 3, "area"))
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
