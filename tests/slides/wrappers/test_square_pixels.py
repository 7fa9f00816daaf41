"""Pixels that are not square: the finer axis by area mean, the same in every box, and said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.slides.contract import (
    DamagedSample,
    DamagedSlideContract,
    SlideContract,
    SlideSample,
    make_damaged_sample,
    write_damaged_tiff,
)
from tests.support.samples import make_noise, make_noise_levels, write_generic_pyramid, write_tiff
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import open_slide
from wsisr.slides.readers.tiff import TiffSlide, read_tiff_image
from wsisr.slides.region import select_region
from wsisr.slides.wrappers.square_pixels import SquarePixelSlide

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
            pixels = slide.read(Box.from_size(slide.info.levels[level].size), level)
            np.testing.assert_array_equal(pixels, halve_along_x(stored))
        said = "pixels are 0.25 x 0.5 um: the finer axis is shrunk by area mean to 0.5"
        assert said in slide.info.warnings[0]
        note = select_region(slide).build_metadata()
        assert said in note["source remarks"]
        assert note["source pitch"] == "recorded, for pixels of 0.25 x 0.5 um"


def halve_along_x(stored: Rgb) -> Rgb:
    """Return the mean of each pair of pixels in a row, rounded half to even."""
    pairs = stored.reshape(stored.shape[0], -1, 2, 3).astype(int)
    return np.asarray(np.rint(pairs.mean(axis=2)), np.uint8)


class TestSquarePixelSlide(SlideContract, DamagedSlideContract):
    @pytest.fixture(scope="class")
    @classmethod
    def sample(cls, wide: Path) -> SlideSample:
        return SlideSample(lambda: open_slide(wide), [halve_along_x(stored) for stored in LEVELS])

    @pytest.fixture(scope="class")
    @classmethod
    def damaged_sample(cls, tmp_path_factory: pytest.TempPathFactory) -> DamagedSample:
        stored = make_damaged_sample(write_damaged_tiff(tmp_path_factory.mktemp("square") / "a.tif"), open_half_as_wide)
        intact = [Box(box.left // 2, box.top, box.right // 2, box.bottom) for box in stored.intact]
        return replace(stored, damaged=Box(35, 70, 60, 120), intact=intact)


def open_half_as_wide(path: Path) -> SquarePixelSlide:
    image = read_tiff_image(path)
    return SquarePixelSlide(TiffSlide(replace(image.info, mpp=0.5, pixel_aspect=(2.0, 1.0)), image.levels))


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
