"""Laws of the pictures that a run's page shows: they are of the right places, and few."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.pairs import write_slide
from tests.support.samples import InMemorySlide, make_noise
from wsisr.api import upscale_slide
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, enlarge_image
from wsisr.imaging.tiling import TileGrid, Tiling
from wsisr.slides.region import SlideRegion
from wsisr.upscaling.consistency import WORST_TILES, ConsistencyStatistics
from wsisr.upscaling.request import UpscaleRequest
from wsisr.upscaling.result_pictures import read_result_pictures, trace_outlines
from wsisr.upscaling.result_places import (
    SAMPLED_WINDOWS,
    choose_places,
    find_worst_window,
    list_windows,
    measure_place,
    window_side,
)
from wsisr.upscaling.result_view import ResultView


def view_images(low: Rgb, high: Rgb) -> ResultView:
    """Return an image as a slide, and one of twice its size as its result."""
    slide = InMemorySlide(low)
    return ResultView(SlideRegion(slide, 0), InMemorySlide(high), 2, slide)


@settings(max_examples=20)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(4, 96))
def test_windows_lie_within_the_image_and_are_few(width: int, height: int, side: int) -> None:
    size = Size(width, height)
    windows = list_windows(size, side, None)
    assert 1 <= len(windows) <= SAMPLED_WINDOWS
    assert all(Box.from_size(size).contains(box) and box.size.pixel_count for box in windows)


def test_windows_lie_on_tissue() -> None:
    tissue = np.zeros((10, 10), bool)
    tissue[4:6, 7] = True
    assert list_windows(Size(320, 320), 32, tissue) == [Box(224, 128, 256, 160), Box(224, 160, 256, 192)]


@settings(max_examples=5)
@given(st.integers(0, 200), st.integers(0, 200))
def test_the_worst_window_is_where_an_error_was_planted(left: int, top: int) -> None:
    low = make_noise(Size(300, 300))
    high = enlarge_image(low, 2, "bicubic").copy()
    high[2 * top : 2 * top + 96, 2 * left : 2 * left + 96] = 0
    view = view_images(low, high)
    found = find_worst_window(view, Box(0, 0, 300, 300))
    assert found.contains(Box(left, top, left + 48, top + 48))
    place = measure_place(view, found)
    assert place.detail > 10
    assert place.error > 10
    untouched = Box(250, 250, 290, 290) if left + top < 200 else Box(0, 0, 40, 40)
    if not untouched.intersection(Box(left, top, left + 50, top + 50)).size.pixel_count:
        assert measure_place(view, untouched).detail == 0


def test_chosen_places_do_not_overlap() -> None:
    view = view_images(make_noise(Size(60, 60)), make_noise(Size(120, 120)))
    places = [measure_place(view, Box(x, 0, x + 20, 20)) for x in (0, 10, 20, 30, 40)]
    assert [place.box.left for place in choose_places(places, 2)] == [0, 20]
    assert [place.box.left for place in choose_places(places, 3, [Box(0, 0, 20, 20)])] == [20, 40]


@settings(max_examples=20)
@given(st.lists(st.integers(0, 30), max_size=6))
def test_the_worst_tiles_are_the_largest_errors_in_their_order(errors: list[int]) -> None:
    grid, statistics = TileGrid(Size(60, 10), Tiling(10, 0, 0, 1)), ConsistencyStatistics(2)
    for tile, error in zip(grid, errors, strict=False):
        statistics.add(tile, np.bincount([error], minlength=256).astype(np.int64))
    largest = sorted(filter(None, errors), reverse=True)[:WORST_TILES]
    assert [each.error for each in statistics.worst_tiles] == largest
    assert statistics.worst == max(errors, default=0)
    assert all(errors[each.at[0] // 20] == each.error for each in statistics.worst_tiles)


def test_a_shrunk_source_shows_its_truth_and_a_scan_has_none(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.tif", Size(384, 256), mpp=0.25)
    for source_mpp, has_truth in ((0.5, True), (None, False)):
        output = tmp_path / f"{source_mpp}.ome.tif"
        request = UpscaleRequest(slide, scale=2, source_mpp=source_mpp, model="bicubic", output=output, codec="deflate")
        upscale_slide(slide, scale=2, source_mpp=source_mpp, model="bicubic", output=output, codec="deflate")
        pictures = read_result_pictures(request)
        shown = pictures.least_trust[0]
        assert (shown.truth is not None) == has_truth
        assert shown.before.shape[0] == window_side(2)
        assert np.array_equal(shown.after, shown.bicubic)
        if shown.truth is not None:
            box = shown.place.box * 2
            assert np.array_equal(shown.truth, make_noise(Size(384, 256))[box.rows, box.columns])


def test_a_result_of_another_slide_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "a.ome.tif"
    upscale_slide(write_slide(tmp_path / "a.tif"), scale=2, model="bicubic", output=output)
    other = write_slide(tmp_path / "b.tif", Size(128, 128))
    with pytest.raises(SlideError, match=r"is not of the size that .*b.tif gives"):
        read_result_pictures(UpscaleRequest(other, scale=2, output=output, model="bicubic"))


def test_tissue_is_outlined_with_its_holes_and_nothing_where_all_is_tissue() -> None:
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    mask[20:40, 20:40] = False
    assert len(trace_outlines(mask)) == 2
    assert trace_outlines(np.ones((9, 9), bool)) == []
