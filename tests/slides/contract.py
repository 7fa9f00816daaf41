"""The laws of the `Slide` protocol, as test classes that the test of every reader and wrapper inherits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.samples import make_noise, write_generic_pyramid
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import WHITE, Rgb
from wsisr.slides import Slide
from wsisr.slides.readers.tiff import TiffSlide, read_tiff_image
from wsisr.slides.slide import UndecodableError

BOXES = st.builds(
    lambda left, top, width, height: Box(left, top, left + width, top + height),
    st.integers(-80, 260),
    st.integers(-80, 220),
    st.integers(0, 150),
    st.integers(0, 150),
)
"""Boxes within, across and beyond the edges of slides of about 220 x 180 px; some are empty."""


def crop_in_white(image: Rgb, box: Box) -> Rgb:
    """Return the pixels that a slide shows in a box: those of the image, and white around it."""
    pixels = np.full((box.height, box.width, 3), WHITE, np.uint8)
    inside = box.intersection(Box.from_size(Size(image.shape[1], image.shape[0])))
    target = inside.relative_to(box)
    if inside.size.pixel_count:
        pixels[target.rows, target.columns] = image[inside.rows, inside.columns]
    return pixels


@dataclass(frozen=True, slots=True)
class SlideSample:
    """A slide of which every pixel is known."""

    open: Callable[[], Slide]
    """Opens it anew."""
    levels: Sequence[Rgb]
    """Its pixels at each level."""


class SlideContract:
    """Laws of every `Slide`. A subclass defines the class-scoped fixture `sample`, which returns a `SlideSample`."""

    @pytest.fixture(scope="class")
    @classmethod
    def slide(cls, sample: SlideSample) -> Iterator[Slide]:
        with sample.open() as slide:
            yield slide

    def test_the_levels_shrink_and_have_the_sizes_of_their_pixels(self, slide: Slide, sample: SlideSample) -> None:
        info = slide.info
        sizes = [Size(pixels.shape[1], pixels.shape[0]) for pixels in sample.levels]
        assert [level.size for level in info.levels] == sizes
        assert info.size == info.get_level(0).size == sizes[0]
        assert info.levels[0].downsample == 1
        for finer, coarser in zip(info.levels, info.levels[1:], strict=False):
            assert coarser.downsample > finer.downsample
            assert coarser.size.pixel_count < finer.size.pixel_count
        for level in info.levels:
            assert level.size.width * level.downsample == pytest.approx(info.size.width, abs=2 * level.downsample)
            assert level.size.height * level.downsample == pytest.approx(info.size.height, abs=2 * level.downsample)

    def test_the_facts_go_together(self, slide: Slide) -> None:
        info = slide.info
        assert info.pixel_aspect == (1.0, 1.0)
        assert info.bounds is None or Box.from_size(info.size).contains(info.bounds)
        assert info.series_number is None or info.all_series[info.series_number].refusal == ""
        for number, level in enumerate(info.levels):
            assert info.level_mpp(number) == (None if info.mpp is None else info.mpp * level.downsample)

    @settings(max_examples=60, suppress_health_check=[HealthCheck.differing_executors])
    @given(box=BOXES, level=st.integers(0, 3))
    def test_a_box_is_the_crop_of_its_level_in_white(
        self, slide: Slide, sample: SlideSample, box: Box, level: int
    ) -> None:
        level = min(level, len(sample.levels) - 1)
        pixels = slide.read(box, level)
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, crop_in_white(sample.levels[level], box))

    def test_parts_side_by_side_are_the_whole(self, slide: Slide, sample: SlideSample) -> None:
        for number, whole in enumerate(sample.levels):
            rows = [
                np.concatenate([slide.read(Box(x, y, x + 50, y + 70), number) for x in range(0, whole.shape[1], 50)], 1)
                for y in range(0, whole.shape[0], 70)
            ]
            np.testing.assert_array_equal(np.concatenate(rows)[: whole.shape[0], : whole.shape[1]], whole)

    def test_threads_read_what_one_thread_reads(self, slide: Slide, sample: SlideSample) -> None:
        tasks = [
            (Box(x, y, x + 90, y + 70), level)
            for level, pixels in enumerate(sample.levels)
            for x in range(0, pixels.shape[1], 60)
            for y in range(0, pixels.shape[0], 50)
        ] * 3
        with ThreadPoolExecutor(4) as threads:
            results = list(threads.map(lambda task: slide.read(*task), tasks))
        for pixels, (box, level) in zip(results, tasks, strict=True):
            np.testing.assert_array_equal(pixels, crop_in_white(sample.levels[level], box))

    def test_a_caller_may_change_what_it_has_read(self, slide: Slide, sample: SlideSample) -> None:
        box = Box(0, 0, 40, 30)
        pixels = slide.read(box, 0)
        if pixels.flags.writeable:
            pixels[:] = 0
        np.testing.assert_array_equal(slide.read(box, 0), crop_in_white(sample.levels[0], box))

    def test_a_level_that_does_not_exist_is_refused(self, slide: Slide) -> None:
        for number in (-1, len(slide.info.levels)):
            with pytest.raises(SlideError, match=f"there is no level {number}"):
                slide.read(Box(0, 0, 1, 1), number)
            with pytest.raises(SlideError, match=f"there is no level {number}"):
                slide.info.get_level(number)

    def test_reading_a_closed_slide_is_a_bug_and_says_so(self, sample: SlideSample) -> None:
        with sample.open() as slide:
            slide.read(Box(0, 0, 10, 10), 0)
        slide.close()
        assert slide.info.levels
        with pytest.raises(ValueError, match="read after close"):
            slide.read(Box(0, 0, 10, 10), 0)


@dataclass(frozen=True, slots=True)
class DamagedSample:
    """A slide with a region that cannot be decoded."""

    open: Callable[[], Slide]
    """Opens it anew."""
    path: Path
    damaged: Box
    """A box at level 0 with pixels of the region."""
    intact: Sequence[Box]
    """Boxes at level 0 without."""
    place: str
    """Words of the error message that name the box, in px of the file."""


class DamagedSlideContract:
    """Laws of a slide that raises errors on damage. A subclass defines the class-scoped fixture `damaged_sample`."""

    def test_a_damaged_box_is_one_line_that_names_path_level_and_box(self, damaged_sample: DamagedSample) -> None:
        with damaged_sample.open() as slide, pytest.raises(UndecodableError) as caught:
            slide.read(damaged_sample.damaged, 0)
        assert str(caught.value).startswith(f"{damaged_sample.path}: {damaged_sample.place} cannot be decoded")
        assert "\n" not in str(caught.value)

    def test_good_boxes_read_on_after_a_bad_one(self, damaged_sample: DamagedSample) -> None:
        with damaged_sample.open() as slide:
            before = [slide.read(box, 0) for box in damaged_sample.intact]
            for _ in range(2):
                with pytest.raises(SlideError, match="cannot be decoded"):
                    slide.read(damaged_sample.damaged, 0)
                for box, pixels in zip(damaged_sample.intact, before, strict=True):
                    np.testing.assert_array_equal(slide.read(box, 0), pixels)

    def test_a_bad_box_in_one_thread_is_no_error_in_another(self, damaged_sample: DamagedSample) -> None:
        def read(slide: Slide, box: Box) -> Rgb | SlideError:
            try:
                return slide.read(box, 0)
            except SlideError as error:
                return error

        with damaged_sample.open() as slide, ThreadPoolExecutor(4) as threads:
            expected = [slide.read(box, 0) for box in damaged_sample.intact]
            boxes = [box for intact in damaged_sample.intact for box in (damaged_sample.damaged, intact)] * 4
            results = list(threads.map(lambda box: read(slide, box), boxes))
        assert all(isinstance(result, SlideError) for result in results[0::2])
        for result, pixels in zip(results[1::2], expected * 4, strict=True):
            np.testing.assert_array_equal(result, pixels)


def write_damaged_tiff(path: Path) -> Path:
    """Write a TIFF of 512 x 512 px in JPEG tiles of 64 px, of which that at column 1, row 1 holds nonsense."""
    write_generic_pyramid(path, [make_noise(Size(512, 512))], compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        offset, count = page.dataoffsets[9], page.databytecounts[9]
    stored = bytearray(path.read_bytes())
    stored[offset : offset + count] = b"x" * count
    path.write_bytes(stored)
    return path


def make_damaged_sample(path: Path, open_slide: Callable[[Path], Slide]) -> DamagedSample:
    """Make the sample of a slide that is opened from `write_damaged_tiff`, in that file's pixels."""
    intact = [Box(x, 200, x + 64, 280) for x in range(0, 440, 40)]
    place = "level 0, x 70, y 70, 50 x 50 px"
    return DamagedSample(lambda: open_slide(path), path, Box(70, 70, 120, 120), intact, place)


def open_tiff_slide(path: Path) -> TiffSlide:
    """Open a TIFF through tifffile, whichever reader would be chosen for it."""
    image = read_tiff_image(path)
    return TiffSlide(image.info, image.levels)
