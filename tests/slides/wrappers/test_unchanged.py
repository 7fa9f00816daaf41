"""Laws of a slide that must stay as it was opened, over every way to change it and several kinds of slides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slides.contract import SlideContract, SlideSample
from tests.support.changes import SLIDE_CHANGES, SlideChange, find_largest_file
from tests.support.dicom import write_dicom_level
from tests.support.formats import write_leica
from tests.support.samples import make_noise_levels, write_generic_pyramid, write_ome_zarr
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.slides import FaultTolerantSlide, Slide, open_slide
from wsisr.slides.wrappers.unchanged import UnchangedSlide

LEVELS = make_noise_levels(Size(220, 180), Size(110, 90))
BOX = Box(0, 0, 220, 180)
WORDS = r": has (changed|been removed) since it was opened( \(.*\))?; repeat the command when it is complete$"


class TestUnchangedSlide(SlideContract):
    @pytest.fixture(scope="class")
    @classmethod
    def sample(cls, tmp_path_factory: pytest.TempPathFactory) -> SlideSample:
        path = write_generic_pyramid(tmp_path_factory.mktemp("unchanged") / "a.tif", LEVELS)
        return SlideSample(lambda: UnchangedSlide(open_slide(path, mpp=0.5)), LEVELS)


@pytest.fixture(params=["tifffile", "openslide", "dicom", "zarr", "zarr in many files"])
def slide(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Slide]:
    match request.param:
        case "tifffile":
            path = write_generic_pyramid(tmp_path / "a.tif", LEVELS)
        case "openslide":
            path = write_leica(tmp_path / "a.scn", LEVELS)
        case "dicom":
            path = tmp_path / "study"
            path.mkdir()
            for number, pixels in enumerate(LEVELS):
                write_dicom_level(path / f"{number}.dcm", pixels)
        case "zarr":
            path = write_ome_zarr(tmp_path / "a.zarr", LEVELS, "0.5")
        case _:
            path = write_ome_zarr(tmp_path / "a.zarr", LEVELS, "0.5", chunks=(1, 32, 32))
    with open_slide(path, mpp=0.5) as opened:
        yield opened


@pytest.mark.parametrize("change", SLIDE_CHANGES.values(), ids=SLIDE_CHANGES)
def test_a_slide_that_changes_is_an_error_of_one_line(slide: Slide, change: SlideChange) -> None:
    slide.read(BOX, 0)
    slide.check_unchanged()
    is_study = slide.info.vendor == "dicom"
    change(find_largest_file(slide.info.path.parent if is_study else slide.info.path))
    with pytest.raises(SlideError, match=WORDS):
        slide.check_unchanged()
    for reading in (slide, FaultTolerantSlide(slide)) if slide.is_checked_per_read else ():
        with pytest.raises(SlideError, match=WORDS):
            reading.read(BOX, 0)


def test_a_chunk_that_comes_later_is_a_change(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", LEVELS, "0.5", fill_value=255)
    chunk = find_largest_file(path)
    content = chunk.read_bytes()
    chunk.unlink()
    with open_slide(path) as slide:
        slide.read(BOX, 0)
        chunk.write_bytes(content)
        with pytest.raises(SlideError, match=WORDS):
            slide.read(BOX, 0)


def test_a_file_that_changes_between_its_header_and_the_first_box_is_noticed(tmp_path: Path) -> None:
    path = write_generic_pyramid(tmp_path / "a.tif", LEVELS)
    with open_slide(path, mpp=0.5) as slide:
        SLIDE_CHANGES["overwritten in place"](path)
        with pytest.raises(SlideError, match=WORDS):
            slide.read(BOX, 0)
