"""DICOM slides that say RGB and store YCbCr: seen in the colours that they were scanned in."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from tests.slides.contract import (
    DamagedSample,
    DamagedSlideContract,
    SlideContract,
    SlideSample,
    make_damaged_sample,
    open_tiff_slide,
    write_damaged_tiff,
)
from tests.support.formats import make_blobs
from tests.support.samples import make_noise_levels, write_generic_pyramid
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import Level, SlideInfo, open_slide
from wsisr.slides.wrappers.ycbcr import (
    MISLABELLED_WARNING,
    YcbcrToRgbSlide,
    convert_ycbcr_to_rgb,
    has_mislabelled_ycbcr,
)

HEAD = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\x00\xe0"
JFIF = b"\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0"
ADOBE = b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0\0"
TABLE, SCAN = b"\xff\xdb\x00\x04xx", b"\xff\xda\x00\x04xx"


class TestYcbcrToRgbSlide(SlideContract, DamagedSlideContract):
    @pytest.fixture(scope="class")
    @classmethod
    def sample(cls, tmp_path_factory: pytest.TempPathFactory) -> SlideSample:
        levels = make_noise_levels(Size(220, 180), Size(110, 90))
        levels[0][20:40, 50:90] = 255
        path = write_generic_pyramid(tmp_path_factory.mktemp("ycbcr") / "a.tif", levels)
        return SlideSample(lambda: open_as_ycbcr(path), [convert_but_for_white(pixels) for pixels in levels])

    @pytest.fixture(scope="class")
    @classmethod
    def damaged_sample(cls, tmp_path_factory: pytest.TempPathFactory) -> DamagedSample:
        return make_damaged_sample(write_damaged_tiff(tmp_path_factory.mktemp("ycbcr") / "a.tif"), open_as_ycbcr)


def open_as_ycbcr(path: Path) -> YcbcrToRgbSlide:
    return YcbcrToRgbSlide(open_tiff_slide(path))


def convert_but_for_white(pixels: Rgb) -> Rgb:
    return np.where((pixels == 255).all(axis=2, keepdims=True), pixels, convert_ycbcr_to_rgb(pixels))


def dicom(path: Path, frame: bytes, photometric: str) -> SlideInfo:
    path.write_bytes(bytes(132) + HEAD + len(frame).to_bytes(4, "little") + frame)
    said = {"dicom.PhotometricInterpretation": photometric}
    return SlideInfo(path, "openslide", "dicom", (Level(Size(1, 1), 1.0),), None, None, None, {}, said)


@pytest.mark.parametrize(
    ("segments", "photometric", "found"),
    [
        (JFIF + TABLE + SCAN, "RGB", True),
        (JFIF + TABLE + SCAN, "YBR_FULL_422", False),
        (JFIF + ADOBE + SCAN, "RGB", False),
        (ADOBE + SCAN, "RGB", False),
        (TABLE + SCAN, "RGB", False),
        (JFIF, "RGB", True),
        (b"", "RGB", False),
    ],
)
def test_only_a_jfif_marker_contradicts_the_header(
    tmp_path: Path, segments: bytes, photometric: str, found: bool
) -> None:
    assert has_mislabelled_ycbcr(dicom(tmp_path / "a.dcm", b"\xff\xd8" + segments, photometric)) == found


def test_colours_are_those_of_libjpeg_to_the_bit() -> None:
    code = imagecodecs.jpeg8_encode(make_blobs(Size(200, 160)), colorspace="rgb", outcolorspace="ycbcr", level=80)
    raw = imagecodecs.jpeg8_decode(code, outcolorspace="ycbcr")
    np.testing.assert_array_equal(convert_ycbcr_to_rgb(raw), imagecodecs.jpeg8_decode(code))


def test_a_slide_in_dicom_has_the_colours_that_it_has_in_aperio(shared_slides: Path) -> None:
    box = Box(300, 400, 700, 800)
    with (
        open_slide(shared_slides / "vendor" / "dicom-cmu-1") as dicom,
        open_slide(shared_slides / "vendor" / "CMU-1-Small-Region.svs") as aperio,
    ):
        assert MISLABELLED_WARNING in dicom.info.warnings
        seen, truth = (slide.read(box, 0).mean(axis=(0, 1)) for slide in (dicom, aperio))
        np.testing.assert_allclose(seen, truth, atol=1)
        assert (dicom.read(Box(-10, -10, 0, 0), 0) == 255).all()
    with open_slide(shared_slides / "vendor" / "dicom-jpeg.dcm") as honest:
        assert MISLABELLED_WARNING not in honest.info.warnings
