"""Blocks cover a level once and see what they need of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsisr.errors import ConfigError
from wsisr.evaluation.blocks import Sampling, find_score_boxes, grow_box
from wsisr.imaging.geometry import Box, Size

LOWS = st.builds(Size, st.integers(20, 300), st.integers(20, 300))
STEPS = st.sampled_from([64, 128, 512])
SCALES = st.sampled_from([2, 3, 4])
REACHES = st.integers(0, 90)


@given(LOWS, STEPS, SCALES, REACHES)
def test_cores_cover_the_image_once(low: Size, step: int, scale: int, reach: int) -> None:
    seen = np.zeros((low.height, low.width), int)
    for block in Sampling(step).choose_blocks(low, scale, reach):
        seen[block.core.rows, block.core.columns] += 1
    assert (seen == 1).all()


@given(LOWS, STEPS, SCALES, REACHES)
def test_a_source_holds_its_context_or_ends_with_the_image(low: Size, step: int, scale: int, reach: int) -> None:
    for block in Sampling(step).choose_blocks(low, scale, reach):
        assert Box.from_size(low).contains(block.input_box)
        assert block.input_box.contains(grow_box(block.core, reach).intersection(Box.from_size(low)))


@given(LOWS, STEPS, SCALES, REACHES)
def test_sources_are_all_of_one_size(low: Size, step: int, scale: int, reach: int) -> None:
    assert len({block.input_box.size for block in Sampling(step).choose_blocks(low, scale, reach)}) == 1


@given(LOWS, STEPS, SCALES)
def test_every_pixel_inside_the_border_counts_once(low: Size, step: int, scale: int) -> None:
    high = low * scale
    seen = np.zeros((high.height, high.width), int)
    windows = 0
    for block in Sampling(step).choose_blocks(low, scale, 3):
        where, origin = find_score_boxes(block, low, scale), block.input_box * scale
        values = where.errors.translate(origin.left, origin.top)
        seen[values.rows, values.columns] += 1
        windows += max(0, where.ssim.width - 10) * max(0, where.ssim.height - 10)
        if where.ssim.width > 10 and where.ssim.height > 10:
            assert Box.from_size(block.input_box.size * scale).contains(where.ssim)
    assert (seen[8:-8, 8:-8] == 1).all()
    assert seen.sum() == (high.width - 16) * (high.height - 16)
    assert windows == (high.width - 26) * (high.height - 26)


@given(LOWS, STEPS, SCALES)
def test_flat_cells_do_not_depend_on_the_blocks(low: Size, step: int, scale: int) -> None:
    cells = 0
    for block in Sampling(step).choose_blocks(low, scale, 3):
        where = find_score_boxes(block, low, scale)
        assert where.cells.width % 64 == where.cells.height % 64 == 0
        cells += where.cells.size.pixel_count // 64**2
    high = low * scale
    # The first row and column of cells hold the border.
    assert cells == max(0, (high.width - 8) // 64 - 1) * max(0, (high.height - 8) // 64 - 1)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 200))
def test_a_sample_is_bounded_and_made_of_the_level_s_own_blocks(columns: int, rows: int, most: int) -> None:
    low = Size(columns * 64, rows * 64)
    everything = Sampling(64).choose_blocks(low, 2, 5)
    sample = Sampling(64, most * 128**2).choose_blocks(low, 2, 5)
    assert len(sample) == len({block.core for block in sample}) == min(most, len(everything))
    assert {block.core for block in sample} <= {block.core for block in everything}


@given(LOWS, STEPS, st.sampled_from([2, 4]))
def test_any_sample_has_something_to_measure(low: Size, step: int, scale: int) -> None:
    for block in Sampling(step, 1).choose_blocks(low, scale, 3):
        where = find_score_boxes(block, low, scale)
        assert where.consistency.size.pixel_count > 0
        assert min(where.ssim.width, where.ssim.height) > 10


def test_a_sample_is_spread_evenly_in_both_directions() -> None:
    sample = Sampling(64, 64 * 128**2).choose_blocks(Size(64 * 32, 64 * 32), 2, 5)
    quarters = [(block.core.left // (64 * 4), block.core.top // (64 * 4)) for block in sample]
    assert len(set(quarters)) == len(quarters) == 64


@pytest.mark.parametrize("wrong", [{"block_px": 0}, {"block_px": 100}, {"limit_px": 0}])
def test_an_impossible_sampling_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        Sampling(**wrong)
