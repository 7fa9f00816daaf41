"""Laws of the windows of least trust: the largest known bounds of the layer, where they lie, without overlap."""

from __future__ import annotations

from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.upscaling.result_trust import draw_overview, find_doubtful_windows, read_bounds
from wsisr.upscaling.trust.layer import write_trust_layer
from wsisr.upscaling.trust.summary import NOT_CALIBRATED

SIZE = Size(400, 320)
CELLS = (40, 50)
"""Rows and columns of cells of 8 px."""


@settings(max_examples=10)
@given(st.integers(0, 38), st.integers(0, 28))
def test_the_first_window_is_the_planted_doubt_and_none_overlap(column: int, row: int) -> None:
    bounds = np.full(CELLS, 3, np.uint8)
    bounds[row : row + 12, column : column + 12] = 40
    windows = list(islice(find_doubtful_windows(bounds, 8, 96, SIZE), 4))
    assert windows[0].box == Box(column * 8, row * 8, column * 8 + 96, row * 8 + 96)
    assert windows[0].bound == pytest.approx(40, abs=1e-3)
    assert [each.bound for each in windows] == sorted((each.bound for each in windows), reverse=True)
    for number, window in enumerate(windows):
        assert Box.from_size(SIZE).contains(window.box)
        assert not any(window.box.intersection(other.box).size.pixel_count for other in windows[:number])


@settings(max_examples=10)
@given(st.integers(1, 90), st.integers(1, 70), st.integers(8, 64), st.data())
def test_no_doubt_is_lost_in_the_overlay(columns: int, rows: int, longest_px: int, data: st.DataObject) -> None:
    bounds = np.full((rows, columns), 3, np.uint8)
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    bounds[row, column] = 40
    overlay = draw_overview(bounds, 8, longest_px)
    opacity = np.asarray(Image.open(BytesIO(overlay.png)).convert("RGBA"))[..., 3]
    cell_px = overlay.size.width // opacity.shape[1]
    assert max(opacity.shape) <= longest_px
    assert overlay.size == Size(opacity.shape[1], opacity.shape[0]) * cell_px
    assert overlay.size.width >= 8 * columns
    assert np.argwhere(opacity).tolist() == [[row * 8 // cell_px, column * 8 // cell_px]]


def test_what_is_unknown_is_no_doubt() -> None:
    bounds = np.full(CELLS, NOT_CALIBRATED, np.uint8)
    assert list(find_doubtful_windows(bounds, 8, 96, SIZE)) == []
    bounds[5:17, 5:17] = 9
    (window, *_) = find_doubtful_windows(bounds, 8, 96, SIZE)
    assert window.box == Box(40, 40, 136, 136)
    assert window.bound == pytest.approx(9, abs=1e-3)


def test_a_region_smaller_than_a_window_has_one() -> None:
    (window,) = find_doubtful_windows(np.full((2, 3), 7, np.uint8), 8, 96, Size(20, 12))
    assert window.box == Box(0, 0, 20, 12)


def test_a_layer_is_read_as_it_was_written_and_that_of_another_result_is_refused(tmp_path: Path) -> None:
    bounds = np.arange(CELLS[0] * CELLS[1], dtype=np.int64).reshape(CELLS).astype(np.uint8)
    path = tmp_path / "a.trust.ome.tif"
    write_trust_layer(path, bounds, 4.0, {}, overwrite=False)
    found, cell_px = read_bounds(path, SIZE)
    assert cell_px == 8
    assert np.array_equal(found, bounds)
    with pytest.raises(SlideError, match="is not the trust layer of this result"):
        read_bounds(path, Size(800, 320))
    path.write_text("no layer")
    with pytest.raises(SlideError, match="cannot be read"):
        read_bounds(path, SIZE)
