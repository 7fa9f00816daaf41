"""Reading from several threads, and going on after an error."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.support.samples import make_noise, make_noise_levels, write_generic_pyramid, write_ome_pyramid
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import Slide, open_slide
from wsisr.slides.readers.openslide import OpenSlideSlide
from wsisr.slides.readers.tiff import TiffSlide, read_tiff_image

SIZE = Size(512, 512)
BAD = Box(70, 70, 120, 120)
"""Within the tile of column 1, row 1."""


def damaged(path: Path) -> Path:
    """A tiled JPEG whose tile at column 1, row 1 holds nonsense."""
    write_generic_pyramid(path, [make_noise(SIZE)], compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        offset, count = page.dataoffsets[9], page.databytecounts[9]
    stored = bytearray(path.read_bytes())
    stored[offset : offset + count] = b"x" * count
    path.write_bytes(stored)
    return path


def readers(path: Path) -> list[Slide]:
    picture = read_tiff_image(path)
    return [OpenSlideSlide(picture.info), TiffSlide(picture.info, picture.levels)]


def test_good_boxes_read_on_after_a_bad_one(tmp_path: Path) -> None:
    for slide in readers(damaged(tmp_path / "damaged.tif")):
        with slide:
            before = slide.read(Box(200, 200, 300, 300), 0)
            for _ in range(2):
                with pytest.raises(SlideError, match="level 0, x 70, y 70, 50 x 50 px cannot be decoded"):
                    slide.read(BAD, 0)
                np.testing.assert_array_equal(slide.read(Box(200, 200, 300, 300), 0), before)


def test_a_bad_box_in_one_thread_is_no_error_in_another(tmp_path: Path) -> None:
    good = [Box(x, 200, x + 64, 280) for x in range(0, 440, 40)]

    def outcome(slide: Slide, box: Box) -> Rgb | SlideError:
        try:
            return slide.read(box, 0)
        except SlideError as error:
            return error

    for slide in readers(damaged(tmp_path / "damaged.tif")):
        with slide, ThreadPoolExecutor(4) as threads:
            expected = [slide.read(box, 0) for box in good]
            work = [box for box in good for box in (BAD, box)] * 4
            outcomes = list(threads.map(lambda box, slide=slide: outcome(slide, box), work))
        assert all(isinstance(pixels, SlideError) for pixels in outcomes[0::2])
        for pixels, wanted in zip(outcomes[1::2], expected * 4, strict=True):
            np.testing.assert_array_equal(pixels, wanted)


@pytest.mark.parametrize("write", [write_generic_pyramid, write_ome_pyramid])
def test_threads_read_what_one_thread_reads(tmp_path: Path, write: object) -> None:
    assert callable(write)
    levels = make_noise_levels(SIZE, Size(256, 256))
    work = [
        (Box(x, y, x + 90, y + 70), level) for level in (0, 1) for x in range(0, 240, 60) for y in range(0, 240, 50)
    ]
    with open_slide(write(tmp_path / "pyramid.tif", levels)) as slide, ThreadPoolExecutor(4) as threads:
        read = list(threads.map(lambda task: slide.read(*task), work * 3))
    for pixels, (box, level) in zip(read, work * 3, strict=True):
        inside = box.intersection(Box(0, 0, *levels[level].shape[1::-1]))
        np.testing.assert_array_equal(
            pixels[: inside.height, : inside.width], levels[level][inside.rows, inside.columns]
        )


def test_reading_a_closed_slide_is_a_bug_and_says_so(tmp_path: Path) -> None:
    for slide in readers(write_generic_pyramid(tmp_path / "whole.tif", [make_noise(SIZE)])):
        slide.close()
        slide.close()
        with pytest.raises(ValueError, match="close"):
            slide.read(Box(0, 0, 10, 10), 0)
