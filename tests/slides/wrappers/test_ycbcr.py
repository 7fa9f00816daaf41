"""DICOM slides that say RGB and store YCbCr: seen in the colours that they were scanned in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

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
from tests.support.samples import InMemorySlide, make_noise_levels, write_generic_pyramid
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import Level, SlideInfo, open_slide
from wsisr.slides.wrappers.ycbcr import (
    MISLABELLED_WARNING,
    UNTRANSFORMED_WARNING,
    YcbcrToRgbSlide,
    convert_ycbcr_to_rgb,
    correct_colours,
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


class FakeDicomSlide(InMemorySlide):
    """Pixels as OpenSlide reads them, and a DICOM file with a header and one frame."""

    def __init__(self, pixels: Rgb, info: SlideInfo) -> None:
        super().__init__(pixels)
        self._info = replace(self._info, path=info.path, vendor="dicom", properties=info.properties)


def make_scan() -> Rgb:
    """Blobs of H&E's colours, with glass around them."""
    pixels = np.full((200, 300, 3), 240, np.uint8)
    pixels[40:160, 40:260] = (215, 150, 195)
    pixels[80:120, 60:200] = (105, 65, 150)
    return pixels


def to_ycbcr(pixels: Rgb) -> Rgb:
    return np.asarray(Image.fromarray(pixels).convert("YCbCr"))


@pytest.mark.parametrize("photometric", ["YBR_ICT", "YBR_RCT"])
@pytest.mark.parametrize("boxed", ["j2k", "jp2"])
def test_jpeg2000_without_the_transform_of_its_header_is_what_its_pixels_are(
    tmp_path: Path, photometric: str, boxed: str
) -> None:
    scan = make_scan()
    for stored, is_ycbcr in ((to_ycbcr(scan), True), (scan, False)):
        frame = imagecodecs.jpeg2k_encode(stored, level=0, codecformat=boxed, mct=False)
        info = dicom(tmp_path / "a.dcm", bytes(frame), photometric)
        slide = correct_colours(FakeDicomSlide(stored, info))
        shown = slide.read(Box(0, 0, 300, 200), 0).astype(int)
        assert np.abs(shown - scan).max() <= 2
        assert (UNTRANSFORMED_WARNING in slide.info.warnings) == is_ycbcr


@pytest.mark.parametrize("photometric", ["YBR_ICT", "RGB", "YBR_RCT"])
def test_jpeg2000_with_a_transform_is_left_to_its_decoder(tmp_path: Path, photometric: str) -> None:
    frame = imagecodecs.jpeg2k_encode(make_scan(), level=0, codecformat="j2k", mct=True)
    slide = FakeDicomSlide(make_scan(), dicom(tmp_path / "a.dcm", bytes(frame), photometric))
    assert correct_colours(slide) is slide


def test_rgb_jpeg_under_a_header_of_ycbcr_is_refused(tmp_path: Path) -> None:
    frame = imagecodecs.jpeg8_encode(make_scan(), colorspace="rgb", outcolorspace="rgb")
    slide = FakeDicomSlide(make_scan(), dicom(tmp_path / "a.dcm", bytes(frame), "YBR_FULL_422"))
    with pytest.raises(SlideError, match="correct its PhotometricInterpretation to RGB"):
        correct_colours(slide)
    assert (
        correct_colours(FakeDicomSlide(make_scan(), dicom(tmp_path / "a.dcm", bytes(frame), "RGB"))).info.warnings == ()
    )
