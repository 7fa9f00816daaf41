"""What a run holds in memory: no more than its plan says, whatever the slide's size."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.samples import InMemorySlide, make_noise
from wsisr.errors import OutputError
from wsisr.imaging.geometry import Size
from wsisr.models.upscaler import Resampling
from wsisr.slides.region import SlideRegion
from wsisr.upscaling.engine import enlarge_blocks
from wsisr.upscaling.memory import FIXED_BYTES, GB
from wsisr.upscaling.plan import DEFAULT_TILE_PX, UpscaleOptions, _equal_side, plan_upscaling

SMALL, LARGE = (
    SlideRegion(InMemorySlide(make_noise(Size(700, 500))), 0),
    SlideRegion(InMemorySlide(make_noise(Size(2300, 1500))), 0),
)
UPSCALER = Resampling("lanczos", 2)


def held(source: SlideRegion, options: UpscaleOptions) -> tuple[int, int]:
    """Most bytes of arrays at a time while blocks are made, and what was promised."""
    plan = plan_upscaling(source, UPSCALER, options)
    gc.collect()
    tracemalloc.start()
    for _ in enlarge_blocks(plan):
        pass
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most, plan.work_unit.total_bytes - FIXED_BYTES


@pytest.mark.parametrize(
    "options", [UpscaleOptions(256), UpscaleOptions(128, batch=4), UpscaleOptions(256, overlap_px=4, batch=2)]
)
def test_a_run_holds_no_more_than_planned_and_no_more_for_a_larger_slide(options: UpscaleOptions) -> None:
    small, planned = held(SMALL, options)
    large, _ = held(LARGE, options)
    assert small <= planned
    assert large <= planned


@given(st.floats(0.14, 1.0), st.integers(1, 4))
@settings(max_examples=20)
def test_tiles_are_the_largest_that_the_budget_has_room_for(memory_gb: float, batch: int) -> None:
    load = plan_upscaling(LARGE, UPSCALER, UpscaleOptions(batch=batch, memory_gb=memory_gb)).work_unit
    assert load.total_bytes <= memory_gb * GB
    side = load.grid.tiling.core_px
    if side < _equal_side(LARGE.size, DEFAULT_TILE_PX, 128):
        with pytest.raises(OutputError, match="--memory"):
            plan_upscaling(LARGE, UPSCALER, UpscaleOptions(side + 128, batch=batch, memory_gb=memory_gb))


@given(st.builds(Size, st.integers(1, 5000), st.integers(1, 5000)), st.sampled_from([64, 128]))
def test_tiles_are_about_equal_and_as_few_as_of_the_largest_size(size: Size, cell_px: int) -> None:
    side = _equal_side(size, DEFAULT_TILE_PX, cell_px)
    assert side % cell_px == 0
    assert side <= DEFAULT_TILE_PX
    by_axis = [(length, -(-length // side)) for length in (size.width, size.height)]
    assert [count for _, count in by_axis] == [-(-length // DEFAULT_TILE_PX) for length, _ in by_axis]
    # Along one axis, no smaller side would do.
    assert any((side - cell_px) * count < length for length, count in by_axis)


@pytest.mark.parametrize(
    "options", [UpscaleOptions(memory_gb=0.1), UpscaleOptions(1024, memory_gb=0.15), UpscaleOptions(memory_gb=0)]
)
def test_a_budget_without_room_for_a_tile_is_refused(options: UpscaleOptions) -> None:
    with pytest.raises(OutputError, match=r"more than .* GB; raise --memory"):
        plan_upscaling(LARGE, UPSCALER, options)


def test_a_single_window_has_all_cores_and_many_share_them() -> None:
    grids = [plan_upscaling(LARGE, UPSCALER, UpscaleOptions(side)).work_unit for side in (128, 4096)]
    assert [load.parallel_batches for load in grids] == [grids[0].max_parallel_batches, 1]
