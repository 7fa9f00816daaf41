"""Pixels that are not square: the finer axis by area mean, the same in every box, and said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.slides.readers.test_reading import boxes, crop
from tests.support.samples import make_noise, make_noise_levels, write_generic_pyramid, write_tiff
from wsisr.imaging.geometry import Box, Size
from wsisr.slides import open_slide
from wsisr.slides.region import select_region

LEVELS = make_noise_levels(Size(220, 180), Size(110, 90))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.25 um/px along x, 0.5 along y."""
    path = tmp_path_factory.mktemp("square") / "wide.tif"
    return write_generic_pyramid(path, LEVELS, resolution=(40_000, 20_000), resolutionunit="CENTIMETER")


def test_the_finer_axis_is_shrunk_by_area_mean_and_that_is_said(wide: Path) -> None:
    with open_slide(wide) as slide:
        assert [level.size for level in slide.info.levels] == [Size(110, 180), Size(55, 90)]
        assert [slide.info.level_mpp(level) for level in (0, 1)] == [0.5, 1.0]
        for level, stored in enumerate(LEVELS):
            pairs = stored.reshape(stored.shape[0], -1, 2, 3).astype(int)
            pixels = slide.read(Box.from_size(slide.info.levels[level].size), level)
            np.testing.assert_array_equal(pixels, (pairs.sum(axis=2) + 1) // 2)
        said = "pixels are 0.25 x 0.5 um: the finer axis is shrunk by area mean to 0.5"
        assert said in slide.info.warnings[0]
        note = select_region(slide).build_metadata()
        assert said in note["source remarks"]
        assert note["source pitch"] == "recorded, for pixels of 0.25 x 0.5 um"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(box=boxes)
def test_a_box_is_the_crop_of_the_whole_in_white(wide: Path, box: Box) -> None:
    with open_slide(wide) as slide:
        whole = slide.read(Box.from_size(slide.info.size), 0)
        np.testing.assert_array_equal(slide.read(box, 0), crop(whole, box))


def test_a_given_pitch_says_that_pixels_are_square(wide: Path) -> None:
    with open_slide(wide, mpp=0.25) as slide:
        assert (slide.info.size, slide.info.mpp) == (Size(220, 180), 0.25)
        assert slide.info.warnings == ("0.25 um/px was given, where the file records 0.5; the given one counts",)
        np.testing.assert_array_equal(slide.read(Box(0, 0, 220, 180), 0), LEVELS[0])


def test_either_axis_may_be_the_finer_one(tmp_path: Path) -> None:
    path = write_tiff(
        tmp_path / "a.tif", make_noise(Size(60, 90)), resolution=(20_000, 30_000), resolutionunit="CENTIMETER"
    )
    with open_slide(path) as slide:
        assert (slide.info.size, slide.info.mpp) == (Size(60, 60), 0.5)
