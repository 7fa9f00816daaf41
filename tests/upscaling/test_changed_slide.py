"""A slide that changes while something is made of it: an error, never a result that says it is of another slide."""

from __future__ import annotations

import os
import shutil
from collections import deque
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.changes import SLIDE_CHANGES, SlideChange, find_largest_file
from tests.support.pairs import RECIPE, make_builder, write_slide
from tests.support.samples import make_noise, write_ome_zarr, write_tiff
from wsisr.dataset.builder import StopSignal, build_part
from wsisr.errors import OutputError, SlideError
from wsisr.evaluation import EvaluationInput, evaluate_level
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import RgbBatch
from wsisr.models.upscaler import Resampling
from wsisr.slides import open_slide
from wsisr.slides.region import select_region
from wsisr.upscaling.engine import upscale_region
from wsisr.upscaling.plan import UpscaleOptions
from wsisr.upscaling.preview import draw_comparison
from wsisr.writing import read_metadata

WORDS = r"has (changed|been removed) since it was opened"

every_change = pytest.mark.parametrize("change", SLIDE_CHANGES.values(), ids=SLIDE_CHANGES)


@pytest.fixture(params=["file", "folder"])
def slide(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    pixels = make_noise(Size(256, 200))
    if request.param == "folder":
        return write_ome_zarr(tmp_path / "slide.zarr", [pixels], "0.5", compressors=None)
    return write_tiff(tmp_path / "slide.tif", pixels, tile=(128, 128))


def enlarge(
    slide: Path, output: Path, *, change: SlideChange | None = None, after: int = 1, overwrite: bool = False
) -> None:
    """Enlarge a slide of four tiles; change it after so many of them, of all four once its digest is recorded."""
    with open_slide(slide, mpp=0.5) as opened:
        region = select_region(opened)
        steps = upscale_region(region, Resampling("bicubic", 2), output, options=OPTIONS, overwrite=overwrite)
        with closing(steps):
            for number, _ in enumerate(steps, 1):
                if change is not None and number == after:
                    while after == TILES and "source sha256" not in (part_of(output) / "run.json").read_text():
                        os.sched_yield()
                    change(find_largest_file(slide))


def part_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.wsisr-part")


TILES = 4
OPTIONS = UpscaleOptions(128)


@every_change
@pytest.mark.parametrize("after", [1, TILES])
def test_no_file_is_made_of_a_slide_that_changes(slide: Path, tmp_path: Path, change: SlideChange, after: int) -> None:
    """Also after the fourth step, when all tiles have been read and only the comparison at the end can notice."""
    with pytest.raises(SlideError, match=WORDS):
        enlarge(slide, tmp_path / "out.tif", change=change, after=after)
    assert not (tmp_path / "out.tif").exists()


def test_the_work_goes_on_where_the_slide_is_proved_to_be_the_same_only(slide: Path, tmp_path: Path) -> None:
    output, file = tmp_path / "out.tif", find_largest_file(slide)
    enlarge(slide, tmp_path / "whole.tif")
    copy = shutil.copy2(file, tmp_path / "copy")
    with pytest.raises(SlideError, match=WORDS):  # at the end, when the digest is recorded
        enlarge(slide, output, change=SLIDE_CHANGES["overwritten in place"], after=TILES)
    with pytest.raises(OutputError, match=r"stopped run with source sha256 .*, now .*; .*--overwrite"):
        enlarge(slide, output)
    shutil.copy2(copy, file)
    enlarge(slide, output)
    assert output.read_bytes() == (tmp_path / "whole.tif").read_bytes()


def test_work_of_another_slide_of_the_same_date_and_size_is_dropped_with_overwrite(slide: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    with pytest.raises(SlideError, match=WORDS):
        enlarge(slide, output, change=SLIDE_CHANGES["renamed over"], after=TILES)
    enlarge(slide, output, overwrite=True)
    enlarge(slide, tmp_path / "whole.tif")
    assert output.read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert not part_of(output).exists()


def test_permissions_that_change_between_two_runs_cost_nothing(slide: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    with pytest.raises(SlideError, match=WORDS):
        enlarge(slide, output, change=lambda path: path.chmod(0o600), after=TILES)
    before = (part_of(output) / "level-0.tiles").stat().st_mtime_ns
    with open_slide(slide, mpp=0.5) as opened:
        steps = upscale_region(select_region(opened), Resampling("bicubic", 2), output, options=OPTIONS)
        first = next(steps)
        assert first.done == first.total
        assert (part_of(output) / "level-0.tiles").stat().st_mtime_ns == before
        deque(steps, 0)
    assert read_metadata(output)


@dataclass
class Harming:
    """Harms a slide once, when it is asked for the n-th time: as a flag of a build, or as an upscaler."""

    slide: Path
    change: SlideChange
    countdown: int = 1

    def is_set(self) -> bool:
        self.countdown -= 1
        if not self.countdown:
            self.change(self.slide)
        return False


@dataclass(frozen=True)
class HarmingUpscaler(Resampling):
    """Harms a slide when it enlarges the first tile."""

    harming: Harming = field(kw_only=True)

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        self.harming.is_set()
        return super().__call__(tiles)


@every_change
def test_no_preview_evaluation_or_pair_is_made_of_a_slide_that_changes(tmp_path: Path, change: SlideChange) -> None:
    path = write_slide(tmp_path / "preview.ome.tif")
    with open_slide(path) as slide, pytest.raises(SlideError, match=WORDS):
        draw_comparison(
            select_region(slide, area=Box(0, 0, 64, 64)), HarmingUpscaler("bicubic", 2, harming=Harming(path, change))
        )
    path = write_slide(tmp_path / "evaluate.ome.tif")
    with open_slide(path) as slide, pytest.raises(SlideError, match=WORDS):
        deque(
            evaluate_level(slide, HarmingUpscaler("bicubic", 2, harming=Harming(path, change)), 0, EvaluationInput()), 0
        )
    path = write_slide(tmp_path / "pairs.ome.tif")
    (job,) = make_builder(tmp_path / "dataset", [path], recipe=RECIPE).plan.jobs
    (tmp_path / "dataset").mkdir()
    failure = build_part(job, tmp_path / "dataset", StopSignal(Harming(path, change)))
    assert failure is not None
    assert "since it was opened" in failure
