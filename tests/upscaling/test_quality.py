"""Laws of what is measured while a result is made."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.samples import InMemorySlide, make_noise
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, RgbBatch
from wsisr.imaging.tiling import TileGrid, Tiling
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Resampling, Upscaler, UpscalerInfo
from wsisr.slides import open_slide
from wsisr.slides.region import SlideRegion
from wsisr.tissue import TissueMap
from wsisr.upscaling.background import BackgroundOptions
from wsisr.upscaling.engine import enlarge_blocks, upscale_region
from wsisr.upscaling.plan import UpscaleOptions, plan_upscaling
from wsisr.upscaling.quality import QualityMonitor, describe_grid
from wsisr.writing import read_metadata

UPSCALER = Resampling("lanczos", 2)


class Repeat:
    """Averaged back it is what it was; each tile may be darkened by its number."""

    info = UpscalerInfo("repeat", scale=2, receptive_field=0, hardware="nowhere")
    warnings: tuple[str, ...] = ()

    def __init__(self, darker: int = 0) -> None:
        self.darker, self.tiles = darker, 0

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        self.tiles += 1
        off = self.darker if self.tiles == 4 else 0
        return tiles.repeat(2, axis=1).repeat(2, axis=2) - np.uint8(off)


def measure(pixels: Rgb, upscaler: Upscaler, overlap_px: int | None = None) -> QualityMonitor:
    monitor = QualityMonitor(upscaler.info.scale)
    plan = plan_upscaling(
        SlideRegion(InMemorySlide(pixels), 0), upscaler, UpscaleOptions(128, overlap_px, quality=monitor)
    )
    for _ in enlarge_blocks(plan):
        pass
    return monitor


def test_without_seams_the_score_is_one() -> None:
    assert measure(np.full((300, 400, 3), 90, np.uint8), Repeat()).seams.mean == 1
    seams = measure(make_noise(Size(520, 390)), Repeat()).seams
    assert seams.borders == 4 * 4 + 5 * 3
    assert seams.mean == pytest.approx(1, abs=0.05)


def test_a_tile_that_differs_is_found_by_its_border_and_by_its_mean() -> None:
    monitor = measure(np.full((256, 384, 3), 90, np.uint8), Repeat(darker=3))
    assert monitor.seams.worst_at[0] in (0, 256)
    assert monitor.seams.worst > 10
    assert (monitor.consistency.worst, monitor.consistency.worst_at) == (3, (0, 256))
    assert monitor.consistency.mean == pytest.approx(3 / 6)
    assert monitor.consistency.percentile_99_9 == 3


def test_what_averages_back_to_its_input_has_no_consistency_error() -> None:
    errors = measure(make_noise(Size(301, 203)), Repeat()).consistency
    assert (errors.mean, errors.percentile_99_9, errors.worst) == (0, 0, 0)


def test_where_white_meets_tissue_there_is_no_seam_to_measure() -> None:
    flags = np.zeros((4, 4), bool)
    flags[:, :2] = flags[0, 2] = True  # across the border of the upper tiles, half is tissue on both sides
    ratios = {}
    for white in (True, False):
        monitor, background = QualityMonitor(2), BackgroundOptions(TissueMap(flags, "made up"), white)
        source = SlideRegion(InMemorySlide(np.full((512, 512, 3), 90, np.uint8)), 0)
        plan = plan_upscaling(source, Repeat(), UpscaleOptions(256, quality=monitor, background=background))
        deque(enlarge_blocks(plan), 0)
        ratios[white] = (monitor.seams.borders, monitor.seams.mean)
    assert ratios == {True: (3, 1.0), False: (4, 1.0)}


@pytest.mark.parametrize("options", [UpscaleOptions(128), UpscaleOptions(128, overlap_px=4, batch=2)])
@settings(max_examples=6)
@given(stops=st.lists(st.integers(1, 16), min_size=1, max_size=3))
def test_quality_does_not_depend_on_where_the_run_was_stopped(options: UpscaleOptions, stops: list[int]) -> None:
    with TemporaryDirectory() as name:
        results = [_measure_upscaling(Path(name) / "whole.tif", options, [])]
        results.append(_measure_upscaling(Path(name) / "stopped.tif", options, stops))
    assert results[0] == results[1]


def test_tiles_that_were_cut_otherwise_before_are_not_measured(tmp_path: Path) -> None:
    output = tmp_path / "a.tif"
    _take_steps(output, UpscaleOptions(128), 6)
    monitor = QualityMonitor(2)
    _take_steps(output, UpscaleOptions(256, quality=monitor), None)
    assert monitor.measured_tiles in (2, 3)  # what was in hand when the first run was stopped may have been finished


def test_a_warning_before_the_run_was_stopped_is_in_the_file(tmp_path: Path) -> None:
    upscaler, output = Repeat(), tmp_path / "a.tif"
    upscaler.warnings = ("first",)
    _take_steps(output, UpscaleOptions(128), 3, upscaler)
    upscaler.warnings = ("second", "first")
    _take_steps(output, UpscaleOptions(128), None, upscaler)
    assert read_metadata(output)["remarks"] == "first; second"


def _take_steps(output: Path, options: UpscaleOptions, steps: int | None, upscaler: Upscaler = UPSCALER) -> None:
    making = upscale_region(
        SlideRegion(InMemorySlide(make_noise(Size(500, 400))), 0), upscaler, output, options=options
    )
    deque(islice(making, steps), 0)
    making.close()


def _measure_upscaling(output: Path, options: UpscaleOptions, stops: list[int]) -> tuple[object, ...]:
    for steps in [*stops, None]:
        if not output.exists():
            monitor = QualityMonitor(2)
            _take_steps(output, replace(options, quality=monitor), steps)
    seams, errors = monitor.seams, monitor.consistency
    return (
        monitor.measured_tiles,
        seams.borders,
        seams.mean,
        seams.worst,
        seams.worst_at,
        errors.mean,
        errors.worst,
        errors.worst_at,
    )


def test_one_tile_has_no_border() -> None:
    assert measure(make_noise(Size(60, 50)), Repeat()).seams.borders == 0


def test_without_overlap_the_score_of_a_real_slide_rises(cmu_slide: object) -> None:
    with open_slide(str(cmu_slide)) as slide:
        pixels = slide.read(Box(900, 1100, 1284, 1356), 0)
    upscaler = load_upscaler(scale=2, mpp=0.5, device="cpu")
    assert measure(pixels, upscaler, 0).seams.mean > measure(pixels, upscaler).seams.mean + 0.02


def test_a_grid_has_the_text_that_work_folders_of_version_0_hold() -> None:
    """Otherwise a resumed run would measure only what it does itself."""
    grid = TileGrid(Size(900, 900), Tiling(256, 18, 0, 16), Box(-500, -900, 1720, 2067))
    assert describe_grid(grid) == (
        "TileGrid(image=Size(width=900, height=900), tiling=Tiling(step=256, margin=18, feather=0, unit=16), "
        "readable=Box(left=-500, top=-900, right=1720, bottom=2067))"
    )
