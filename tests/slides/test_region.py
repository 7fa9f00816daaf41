"""Laws of choosing and shrinking the pixels that are enlarged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import InMemorySlide, make_noise
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import enlarge_image, shrink_image
from wsisr.imaging.resampling import ResampledGrid
from wsisr.slides import Level, SlideInfo
from wsisr.slides.region import SlideRegion, find_level_for_mpp, select_region

PICTURE = InMemorySlide(make_noise(Size(240, 180)), mpp=0.25)


@given(st.floats(0.4, 7.5) | st.sampled_from([0.5, 0.87, 1.02, 1.1, 1.3, 1.5, 1.7, 2.1, 3.0, 3.3]), st.data())
def test_a_box_is_the_same_pixels_whichever_box_it_is_read_in(factor: float, data: st.DataObject) -> None:
    source = SlideRegion(PICTURE, 0, factor)
    whole = source.read(Box.from_size(source.size))
    left = data.draw(st.integers(0, source.size.width - 1))
    top = data.draw(st.integers(0, source.size.height - 1))
    right = data.draw(st.integers(left + 1, source.size.width))
    bottom = data.draw(st.integers(top + 1, source.size.height))
    part = source.read(Box(left, top, right, bottom))
    np.testing.assert_array_equal(part, whole[top:bottom, left:right])


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 7), st.integers(1, 7))
def test_a_pixel_that_an_edge_cuts_counts_by_its_share(width: int, height: int, more: int, over: int) -> None:
    image, factor = make_noise(Size(width, height)), 1 + more / over
    columns, rows = (np.arange(int(n / factor) + 1) * factor for n in (width, height))
    if min(len(rows), len(columns)) < 2:
        return
    fine = image.repeat(over, axis=0).repeat(over, axis=1)  # in which every edge falls between two pixels
    side = over + more
    cells = fine[: (len(rows) - 1) * side, : (len(columns) - 1) * side].astype(float)
    exact = cells.reshape(len(rows) - 1, side, len(columns) - 1, side, 3).mean(axis=(1, 3))
    seen = ResampledGrid(Size(width, height), (factor, factor))
    assert seen.size == Size(len(columns) - 1, len(rows) - 1)
    means = seen.read(Box.from_size(seen.size), lambda box: image[box.rows, box.columns])
    assert np.abs(means - exact).max() <= 0.5 + 1e-5


def test_a_whole_factor_is_the_area_mean() -> None:
    source = select_region(PICTURE, mpp=0.75)
    assert (
        np.abs(source.read(Box.from_size(source.size)).astype(int) - shrink_image(PICTURE.pixels, 3, "area")).max() <= 1
    )
    assert source.mpp == pytest.approx(0.75)


def test_a_pitch_within_one_percent_is_not_resampled() -> None:
    assert select_region(PICTURE, mpp=0.2505).resampling_factor == 1


@given(st.lists(st.floats(1.0, 4.0), max_size=6), st.floats(0.1, 3000.0))
def test_the_coarsest_level_that_is_fine_enough_is_chosen(steps: list[float], mpp: float) -> None:
    info = replace(PICTURE.info, levels=tuple(Level(Size(1, 1), float(d)) for d in np.cumprod([1.0, *steps])))
    number = find_level_for_mpp(info, mpp)
    sizes = [info.level_mpp(level) or 0.0 for level in range(len(info.levels))]
    assert number == 0 or sizes[number] <= mpp * 1.01
    assert all(coarser > mpp * 1.01 for coarser in sizes[number + 1 :])


def test_a_pitch_finer_than_the_slide_is_refused() -> None:
    with pytest.raises(SlideError, match=r"coarser than 0\.1"):
        select_region(PICTURE, mpp=0.1)


def test_a_pitch_asked_of_a_slide_without_one_is_refused() -> None:
    with pytest.raises(SlideError, match="--mpp"):
        select_region(InMemorySlide(PICTURE.pixels, mpp=None), mpp=1.0)


def test_a_level_that_is_not_there_is_refused() -> None:
    with pytest.raises(SlideError, match="level 5"):
        select_region(PICTURE, level=5)


@given(st.sampled_from([1.0, 0.7, 2.5]), st.data())
def test_a_part_is_the_crop_of_the_whole_and_can_be_read_beyond_its_border(factor: float, data: st.DataObject) -> None:
    whole = SlideRegion(PICTURE, 0, factor)
    left, top = data.draw(st.integers(0, 200)), data.draw(st.integers(0, 150))
    part = whole.crop_to_area(Box(left, top, left + 40, top + 30))
    x, y = (round(edge / part.downsample) for edge in part.level0_origin)
    place = Box.from_size(part.size).translate(x, y)
    np.testing.assert_array_equal(part.read(Box.from_size(part.size)), whole.read(place))
    np.testing.assert_array_equal(part.read(part.readable_box), whole.read(whole.readable_box))
    assert abs(part.level0_origin[0] - left) <= factor / 2 + 1e-9


@pytest.mark.parametrize("area", [Box(0, 0, 241, 9), Box(-1, 0, 9, 9), Box(5, 5, 5, 9), Box(2, 2, 3, 3)])
def test_an_area_that_is_not_on_the_slide_is_refused(area: Box) -> None:
    with pytest.raises(SlideError, match="region"):
        SlideRegion(PICTURE, 0, 7.0).crop_to_area(area)


def test_a_finer_grid_is_pillows_bicubic() -> None:
    picture = InMemorySlide(PICTURE.pixels // 2 + 60)  # Pillow clips between the axes: nothing to clip here
    fine = SlideRegion(picture, 0, 0.5)
    exact = enlarge_image(picture.pixels, 2, "bicubic").astype(int)
    inner = slice(4, -4)  # Pillow drops the taps beyond the border, here the last pixel stands for them
    difference = np.abs(fine.read(Box.from_size(fine.size)).astype(int) - exact)[inner, inner]
    assert difference.max() <= 1  # Pillow rounds between the axes


def test_by_default_what_was_scanned_is_the_source() -> None:
    class Bounded(InMemorySlide):
        @property
        def info(self) -> SlideInfo:
            return replace(self._info, bounds=Box(20, 30, 120, 90))

    slide = Bounded(PICTURE.pixels)
    assert (select_region(slide).size, select_region(slide).level0_origin) == (Size(100, 60), (20, 30))
    assert select_region(slide, area=Box.from_size(slide.info.size)).size == slide.info.size
