"""Colours in sRGB: by the profile, white kept, damage refused."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.slides.contract import (
    DamagedSample,
    DamagedSlideContract,
    SlideContract,
    SlideSample,
    make_damaged_sample,
    write_damaged_tiff,
)
from tests.support.samples import InMemorySlide, make_noise, make_noise_levels, write_generic_pyramid
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import SlideInfo, SrgbSlide
from wsisr.slides.readers.tiff import TiffSlide, read_tiff_image

LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def make_profile_of_pale_red() -> bytes:
    """Return sRGB's profile with half the red."""
    profile = bytearray(SRGB)
    entry = profile.index(b"rXYZ") + 4  # of the red colorant in the table of tags: where its data lies
    red = int.from_bytes(profile[entry : entry + 4], "big")
    profile[red + 8 : red + 12] = (int.from_bytes(profile[red + 8 : red + 12], "big") // 2).to_bytes(4, "big")
    return bytes(profile)


PALE_RED = make_profile_of_pale_red()


class TestSrgbSlide(SlideContract, DamagedSlideContract):
    @pytest.fixture(scope="class")
    @classmethod
    def sample(cls, tmp_path_factory: pytest.TempPathFactory) -> SlideSample:
        levels = make_noise_levels(Size(220, 180), Size(110, 90))
        path = write_generic_pyramid(tmp_path_factory.mktemp("srgb") / "a.tif", levels)
        return SlideSample(lambda: open_with_profile(path), [convert_from_pale_red(pixels) for pixels in levels])

    @pytest.fixture(scope="class")
    @classmethod
    def damaged_sample(cls, tmp_path_factory: pytest.TempPathFactory) -> DamagedSample:
        return make_damaged_sample(write_damaged_tiff(tmp_path_factory.mktemp("srgb") / "a.tif"), open_with_profile)


def open_with_profile(path: Path) -> SrgbSlide:
    image = read_tiff_image(path)
    return SrgbSlide(TiffSlide(replace(image.info, icc=PALE_RED), image.levels))


def convert_from_pale_red(pixels: Rgb) -> Rgb:
    """Convert a whole image to sRGB at once; white stays white."""
    profile = ImageCms.ImageCmsProfile(BytesIO(PALE_RED))
    srgb = ImageCms.createProfile("sRGB")
    image = ImageCms.profileToProfile(Image.fromarray(pixels), profile, srgb, ImageCms.Intent.PERCEPTUAL)
    return np.where((pixels == 255).all(axis=2, keepdims=True), pixels, np.asarray(image))


class Profiled(InMemorySlide):
    profile: bytes | None = SRGB

    @property
    def info(self) -> SlideInfo:
        return replace(self._info, icc=self.profile)


def test_a_slide_in_srgb_keeps_its_pixels_and_loses_its_profile() -> None:
    pixels = make_noise(Size(40, 30))
    slide = SrgbSlide(Profiled(pixels))
    assert slide.info.icc is None
    assert np.abs(slide.read(Box(3, 4, 33, 24), 0).astype(int) - pixels[4:24, 3:33]).max() <= 1


def test_a_box_is_converted_as_the_whole_is_and_white_stays_white() -> None:
    pixels = make_noise(Size(40, 30))
    pixels[:5] = 255
    picture = Profiled(pixels)
    picture.profile = PALE_RED
    slide = SrgbSlide(picture)
    whole = slide.read(Box(0, 0, 40, 30), 0)
    assert (whole[:5] == 255).all()
    assert np.abs(whole.astype(int) - pixels).max() > 5
    np.testing.assert_array_equal(slide.read(Box(7, 3, 21, 27), 0), whole[3:27, 7:21])
    assert Image.fromarray(whole).mode == "RGB"


@pytest.mark.parametrize(("profile", "words"), [(None, "no ICC profile"), (b"junk", "cannot be used"), (LAB, "cannot")])
def test_colours_that_cannot_be_converted_are_refused(profile: bytes | None, words: str) -> None:
    picture = Profiled(make_noise(Size(4, 4)))
    picture.profile = profile
    with pytest.raises(SlideError, match=words):
        SrgbSlide(picture)
