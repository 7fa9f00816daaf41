"""Real files of several vendors: what each opens as, or the line that refuses it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.slides import open_slide
from wsisr.slides.readers.tiff import TiffSlide, read_tiff_image


def test_aperio(shared_slides: Path) -> None:
    with open_slide(shared_slides / "vendor" / "CMU-1-Small-Region.svs") as slide:
        assert (slide.info.vendor, slide.info.mpp, slide.info.objective) == ("aperio", 0.499, 20.0)


def test_every_development_slide_is_a_pyramid_that_both_readers_see_alike(shared_slides: Path) -> None:
    for path in sorted((shared_slides / "dev").glob("*.svs")):
        picture = read_tiff_image(path)
        with open_slide(path) as slide, TiffSlide(picture.info, picture.levels) as other:
            assert (slide.info.vendor, len(slide.info.levels)) == ("aperio", 4)
            assert slide.info.levels == picture.info.levels
            for number, level in enumerate(slide.info.levels):
                middle = Box(0, 0, 150, 130).translate(level.size.width // 3, level.size.height // 3)
                np.testing.assert_array_equal(slide.read(middle, number), other.read(middle, number))


def test_dicom_by_its_folder_or_by_any_file_of_it(shared_slides: Path) -> None:
    folder = shared_slides / "vendor" / "dicom-cmu-1"
    box = Box(300, 400, 420, 500)
    with open_slide(folder) as slide, open_slide(folder / "level-5-frames-0-1.dcm") as other:
        assert (slide.info.vendor, slide.info.mpp) == ("dicom", 0.499)
        assert [level.size for level in slide.info.levels[:3]] == [Size(2220, 2967), Size(1110, 1483), Size(555, 741)]
        assert slide.info.levels == other.info.levels
        np.testing.assert_array_equal(slide.read(box, 0), other.read(box, 0))


def test_dicom_that_lies_about_its_pitch_opens_with_the_pitch_it_claims(shared_slides: Path) -> None:
    with open_slide(shared_slides / "vendor" / "dicom-jpeg.dcm") as slide:
        assert slide.info.mpp == pytest.approx(16.783)
        assert "no slide scanner" in slide.info.warnings[0]
    with open_slide(shared_slides / "vendor" / "dicom-jpeg.dcm", mpp=0.5) as slide:
        assert slide.info.mpp == 0.5


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("fluorescence-TRITC.ndpi", "holds a fluorescence image; give a brightfield slide of 8-bit RGB"),
        (
            "dicom-grayscale-refused.dcm",
            r"OpenSlide refuses it \(Attribute BitsAllocated value 16 != 8\); copy it again",
        ),
    ],
)
def test_what_is_not_brightfield_is_refused(shared_slides: Path, name: str, line: str) -> None:
    with pytest.raises(SlideError, match=line) as caught:
        open_slide(shared_slides / "vendor" / name)
    assert "\n" not in str(caught.value)
