"""Pixels: whatever the layout, the codec and the reader, a box is a box of the level."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
import pytest
import tifffile

from tests.slides.contract import (
    DamagedSample,
    DamagedSlideContract,
    SlideContract,
    SlideSample,
    crop_in_white,
    make_damaged_sample,
    open_tiff_slide,
    write_damaged_tiff,
)
from tests.support.samples import make_noise, make_noise_levels, write_generic_pyramid, write_ome_pyramid, write_tiff
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import Slide, open_slide
from wsisr.slides.readers.openslide import OpenSlideSlide, composite_over_white, read_openslide_info
from wsisr.slides.readers.tiff import read_tiff_image

WHOLE = make_noise_levels(Size(220, 180), Size(110, 90), Size(55, 45))
"""Downsamples 1, 2, 4."""
ODD = make_noise_levels(Size(221, 183), Size(110, 91), Size(55, 45))
"""Downsamples that are not whole: as scanners and halving programs leave them."""


def whole(slide: Slide, level: int) -> Rgb:
    return slide.read(Box.from_size(slide.info.levels[level].size), level)


TIFF_LAYOUTS: dict[str, Callable[[Path], tuple[Path, list[Rgb]]]] = {
    "whole downsamples": lambda folder: (write_generic_pyramid(folder / "whole.tif", WHOLE), WHOLE),
    "odd downsamples": lambda folder: (write_generic_pyramid(folder / "odd.tif", ODD), ODD),
    "OME SubIFDs": lambda folder: (write_ome_pyramid(folder / "sub.ome.tif", ODD), ODD),
    "strips": lambda folder: (write_tiff(folder / "strips.tif", ODD[0], rowsperstrip=7), ODD[:1]),
    "one strip": lambda folder: (
        write_tiff(folder / "strip.tif", ODD[0], compression="lzw", rowsperstrip=183),
        ODD[:1],
    ),
}


class TestTiffSlide(SlideContract, DamagedSlideContract):
    @pytest.fixture(scope="class", params=TIFF_LAYOUTS)
    @classmethod
    def sample(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SlideSample:
        path, levels = TIFF_LAYOUTS[request.param](tmp_path_factory.mktemp("tiff"))
        return SlideSample(lambda: open_slide(path), levels)

    @pytest.fixture(scope="class")
    @classmethod
    def damaged_sample(cls, tmp_path_factory: pytest.TempPathFactory) -> DamagedSample:
        return make_damaged_sample(write_damaged_tiff(tmp_path_factory.mktemp("tiff") / "a.tif"), open_tiff_slide)

    def test_the_reader_is_the_one_that_is_exact_and_sees_more(self, slide: Slide, sample: SlideSample) -> None:
        assert (slide.info.reader, len(slide.info.levels)) == ("tifffile", len(sample.levels))


class TestOpenSlideSlide(SlideContract, DamagedSlideContract):
    """Only of whole downsamples: where they are not, OpenSlide interpolates, and the law does not hold."""

    @pytest.fixture(scope="class")
    @classmethod
    def sample(cls, tmp_path_factory: pytest.TempPathFactory) -> SlideSample:
        path = write_generic_pyramid(tmp_path_factory.mktemp("openslide") / "a.tif", WHOLE)
        return SlideSample(lambda: open_by_openslide(path), WHOLE)

    @pytest.fixture(scope="class")
    @classmethod
    def damaged_sample(cls, tmp_path_factory: pytest.TempPathFactory) -> DamagedSample:
        return make_damaged_sample(
            write_damaged_tiff(tmp_path_factory.mktemp("openslide") / "a.tif"), open_by_openslide
        )


def open_by_openslide(path: Path) -> OpenSlideSlide:
    """Open a file through OpenSlide, whichever reader would be chosen for it."""
    info = read_openslide_info(path)
    assert info is not None
    return OpenSlideSlide(info)


CODECS: list[dict[str, Any]] = [
    {"compression": None},
    {"compression": "lzw"},
    {"compression": "lzw", "predictor": True},
    {"compression": "zlib"},
    {"compression": "zlib", "predictor": True},
    {"compression": "jpeg"},
    {"compression": "jpeg", "subsampling": (1, 1)},
]
LAYOUTS: list[dict[str, Any]] = [{"tile": (48, 32)}, {"rowsperstrip": 16}, {"rowsperstrip": 83}]


@pytest.mark.parametrize(("codec", "layout"), list(product(CODECS, LAYOUTS)))
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_every_codec_and_layout_reads_as_tifffile_reads_the_whole(
    tmp_path: Path, codec: dict[str, Any], layout: dict[str, Any], byteorder: Literal["<", ">"]
) -> None:
    path = tmp_path / "image.tif"
    with tifffile.TiffWriter(path, byteorder=byteorder) as writer:
        writer.write(make_noise(Size(101, 83)), photometric="rgb", metadata=None, **codec, **layout)
    with open_tiff_slide(path) as slide:
        for box in (Box(0, 0, 101, 83), Box(-5, -5, 20, 20), Box(40, 30, 130, 83), Box(31, 47, 33, 49)):
            np.testing.assert_array_equal(slide.read(box, 0), crop_in_white(tifffile.imread(path), box))


@pytest.mark.parametrize("options", [{"compression": "zlib"}, {"compression": "lzw"}, {"compression": "jpeg"}])
def test_openslide_and_tifffile_agree_at_every_level(tmp_path: Path, options: dict[str, Any]) -> None:
    path = write_generic_pyramid(tmp_path / "pyramid.tif", WHOLE, **options)
    with open_by_openslide(path) as one, open_tiff_slide(path) as other:
        assert one.info.levels == other.info.levels
        for level in range(3):
            np.testing.assert_array_equal(whole(one, level), whole(other, level))


def test_both_readers_give_the_same_pixels_of_a_real_slide(cmu_slide: Path) -> None:
    with open_by_openslide(cmu_slide) as one, open_tiff_slide(cmu_slide) as other:
        for box in (Box(1000, 1000, 1300, 1200), Box(2100, 2900, 2300, 3000)):
            np.testing.assert_array_equal(one.read(box, 0), other.read(box, 0))


@pytest.mark.parametrize("left", [0, 1, 50, 333, 500, 797])
def test_openslide_alone_interpolates_odd_levels_but_is_never_off_by_a_pixel(tmp_path: Path, left: int) -> None:
    levels = make_noise_levels(Size(2001, 61), Size(1000, 30))
    box = Box(left, 5, left + 200, 25)
    with open_by_openslide(write_generic_pyramid(tmp_path / "odd.tif", levels)) as slide:
        assert not slide.info.levels[1].downsample.is_integer()
        pixels = slide.read(box, 1).astype(int)
    distance = {dx: np.abs(pixels - crop_in_white(levels[1], box.translate(dx, 0))).mean() for dx in (-1, 0, 1)}
    assert distance[0] < min(distance[-1], distance[1]) / 2


def test_transparent_pixels_become_white_in_proportion() -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [100, 0, 255, 51]]], np.uint8)
    np.testing.assert_array_equal(composite_over_white(rgba), [[[10, 20, 30], [255, 255, 255], [224, 204, 255]]])
    assert composite_over_white(rgba[:, :0]).shape == (1, 0, 3)


def test_segments_that_were_left_out_are_white(tmp_path: Path) -> None:
    stored: list[bytes] = [b"", make_noise(Size(64, 64)).tobytes(), b"", b""]
    path = tmp_path / "sparse.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            iter(stored), shape=(128, 128, 3), dtype="uint8", photometric="rgb", tile=(64, 64), compression="none"
        )
    for opened in (OpenSlideSlide(read_tiff_image(path).info), open_tiff_slide(path)):
        with opened as slide:
            pixels = whole(slide, 0)
            np.testing.assert_array_equal(pixels[:64, 64:], make_noise(Size(64, 64)))
            assert pixels[64:].min() == pixels[:, :64].min() == 255


def peak_of_reading(slide: Slide, box: Box) -> int:
    tracemalloc.start()
    slide.read(box, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_a_box_of_one_huge_uncompressed_strip_costs_its_rows(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "strip.tif", np.full((3000, 2000, 3), 200, np.uint8), rowsperstrip=3000)
    with open_slide(path) as slide:
        assert peak_of_reading(slide, Box(100, 2500, 164, 2564)) < 2 * 2**20


def test_a_box_of_a_tiled_image_costs_its_tiles(tmp_path: Path) -> None:
    image = np.full((2000, 2000, 3), 200, np.uint8)
    path = write_tiff(tmp_path / "tiles.ome.tif", image, tile=(128, 128), compression="jpeg")
    with open_tiff_slide(path) as slide:
        assert peak_of_reading(slide, Box(100, 1500, 164, 1564)) < 2**20


def test_a_tile_that_decodes_to_more_than_the_header_says_is_refused_unread(tmp_path: Path) -> None:
    bomb = bytes(imagecodecs.jpeg8_encode(np.zeros((3000, 3000, 3), np.uint8)))
    path = tmp_path / "bomb.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            iter([bomb]), shape=(64, 64, 3), dtype="uint8", photometric="rgb", tile=(64, 64), compression="jpeg"
        )
    with open_tiff_slide(path) as slide:
        tracemalloc.start()
        with pytest.raises(SlideError, match="level 0, x 0, y 0, 64 x 64 px cannot be decoded"):
            slide.read(Box(0, 0, 64, 64), 0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**20


def test_a_level_that_is_not_there_is_refused(cmu_slide: Path) -> None:
    with (
        open_slide(cmu_slide) as slide,
        pytest.raises(SlideError, match="there is no level 1; choose level 0, the only"),
    ):
        slide.read(Box(0, 0, 1, 1), 1)


def test_a_wide_slide_in_strips_decodes_each_strip_once_for_a_row_of_boxes(tmp_path: Path) -> None:
    size = Size(50_000, 600)
    image = np.zeros((size.height, size.width, 3), np.uint8)
    path = write_tiff(tmp_path / "wide.tif", image, compression="zlib", rowsperstrip=8)
    with open_tiff_slide(path) as slide:
        for left in range(0, size.width, 10_000):
            slide.read(Box(left, 0, left + 10_000, size.height), 0)
        assert slide._decode_cached.cache_info().misses == size.height // 8


def test_strips_too_wide_to_keep_a_row_of_are_refused_with_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "wide.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            iter([b"x"] * 100),
            shape=(1600, 300_000, 3),
            dtype="uint8",
            photometric="rgb",
            rowsperstrip=16,
            compression="zlib",
        )
    with pytest.raises(SlideError, match="in strips that are 300000 px wide, which wsisr does not read; convert it"):
        open_slide(path)
