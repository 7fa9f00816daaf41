"""Pixels: whatever the layout, the codec and the reader, a box is a box of the level."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.samples import make_noise, make_noise_levels, write_generic_pyramid, write_ome_pyramid, write_tiff
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import Slide, open_slide
from wsisr.slides.readers.openslide import OpenSlideSlide, composite_over_white, read_openslide_info
from wsisr.slides.readers.tiff import TiffSlide, read_tiff_image

WHOLE = make_noise_levels(Size(220, 180), Size(110, 90), Size(55, 45))
"""Downsamples 1, 2, 4."""
ODD = make_noise_levels(Size(221, 183), Size(110, 91), Size(55, 45))
"""Downsamples that are not whole: as scanners and halving programs leave them."""

boxes = st.builds(
    lambda left, top, width, height: Box(left, top, left + width, top + height),
    st.integers(-80, 260),
    st.integers(-80, 220),
    st.integers(0, 150),
    st.integers(0, 150),
)


def crop(image: Rgb, box: Box) -> Rgb:
    """What a box should hold: the image, and white around it."""
    canvas = np.full((box.height, box.width, 3), 255, np.uint8)
    inside = box.intersection(Box.from_size(Size(image.shape[1], image.shape[0])))
    target = inside.translate(-box.left, -box.top)
    if inside.size.pixel_count:
        canvas[target.rows, target.columns] = image[inside.rows, inside.columns]
    return canvas


def whole(slide: Slide, level: int) -> Rgb:
    return slide.read(Box.from_size(slide.info.levels[level].size), level)


@pytest.fixture(scope="module")
def pyramids(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Slide, list[Rgb]]]]:
    """Open slides by layout, and the levels that they hold."""
    folder = tmp_path_factory.mktemp("pyramids")
    files = {
        "openslide": (write_generic_pyramid(folder / "whole.tif", WHOLE), WHOLE),
        "odd": (write_generic_pyramid(folder / "odd.tif", ODD), ODD),
        "ome": (write_ome_pyramid(folder / "sub.ome.tif", ODD), ODD),
        "strips": (write_tiff(folder / "strips.tif", ODD[0], rowsperstrip=7), ODD[:1]),
        "one strip": (write_tiff(folder / "strip.tif", ODD[0], compression="lzw", rowsperstrip=183), ODD[:1]),
    }
    with ExitStack() as opened:
        yield {name: (opened.enter_context(open_slide(path)), levels) for name, (path, levels) in files.items()}


@pytest.mark.parametrize("layout", ["openslide", "odd", "ome", "strips", "one strip"])
@settings(max_examples=60, deadline=None)
@given(box=boxes, level=st.integers(0, 2))
def test_a_box_at_any_level_is_the_crop_of_that_level_in_white(
    pyramids: dict[str, tuple[Slide, list[Rgb]]], layout: str, box: Box, level: int
) -> None:
    slide, levels = pyramids[layout]
    level = min(level, len(levels) - 1)
    pixels = slide.read(box, level)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, crop(levels[level], box))


def test_the_reader_is_the_one_that_is_exact_and_sees_more(pyramids: dict[str, tuple[Slide, list[Rgb]]]) -> None:
    readers = {name: (slide.info.reader, len(slide.info.levels)) for name, (slide, _) in pyramids.items()}
    assert readers == {
        "openslide": ("tifffile", 3),
        "odd": ("tifffile", 3),
        "ome": ("tifffile", 3),
        "strips": ("tifffile", 1),
        "one strip": ("tifffile", 1),
    }


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
    picture = read_tiff_image(path)
    with TiffSlide(picture.info, picture.levels) as slide:
        for box in (Box(0, 0, 101, 83), Box(-5, -5, 20, 20), Box(40, 30, 130, 83), Box(31, 47, 33, 49)):
            np.testing.assert_array_equal(slide.read(box, 0), crop(tifffile.imread(path), box))


@pytest.mark.parametrize("options", [{"compression": "zlib"}, {"compression": "lzw"}, {"compression": "jpeg"}])
def test_openslide_and_tifffile_agree_at_every_level(tmp_path: Path, options: dict[str, Any]) -> None:
    path = write_generic_pyramid(tmp_path / "pyramid.tif", WHOLE, **options)
    native, picture = read_openslide_info(path), read_tiff_image(path)
    assert native is not None
    assert native.levels == picture.info.levels
    with OpenSlideSlide(native) as one, TiffSlide(picture.info, picture.levels) as other:
        for level in range(3):
            np.testing.assert_array_equal(whole(one, level), whole(other, level))


def test_both_readers_give_the_same_pixels_of_a_real_slide(cmu_slide: Path) -> None:
    native, picture = read_openslide_info(cmu_slide), read_tiff_image(cmu_slide)
    assert native is not None
    with OpenSlideSlide(native) as one, TiffSlide(picture.info, picture.levels) as other:
        for box in (Box(1000, 1000, 1300, 1200), Box(2100, 2900, 2300, 3000)):
            np.testing.assert_array_equal(one.read(box, 0), other.read(box, 0))


@pytest.mark.parametrize("left", [0, 1, 50, 333, 500, 797])
def test_openslide_alone_interpolates_odd_levels_but_is_never_off_by_a_pixel(tmp_path: Path, left: int) -> None:
    levels = make_noise_levels(Size(2001, 61), Size(1000, 30))
    native = read_openslide_info(write_generic_pyramid(tmp_path / "odd.tif", levels))
    assert native is not None
    assert not native.levels[1].downsample.is_integer()
    box = Box(left, 5, left + 200, 25)
    with OpenSlideSlide(native) as slide:
        pixels = slide.read(box, 1).astype(int)
    distance = {dx: np.abs(pixels - crop(levels[1], box.translate(dx, 0))).mean() for dx in (-1, 0, 1)}
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
    for slide in (
        OpenSlideSlide(read_tiff_image(path).info),
        TiffSlide(read_tiff_image(path).info, read_tiff_image(path).levels),
    ):
        with slide:
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
    picture = read_tiff_image(path)
    with TiffSlide(picture.info, picture.levels) as slide:
        assert peak_of_reading(slide, Box(100, 1500, 164, 1564)) < 2**20


def test_a_tile_that_decodes_to_more_than_the_header_says_is_refused_unread(tmp_path: Path) -> None:
    bomb = bytes(imagecodecs.jpeg8_encode(np.zeros((3000, 3000, 3), np.uint8)))
    path = tmp_path / "bomb.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            iter([bomb]), shape=(64, 64, 3), dtype="uint8", photometric="rgb", tile=(64, 64), compression="jpeg"
        )
    picture = read_tiff_image(path)
    with TiffSlide(picture.info, picture.levels) as slide:
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
    with open_slide(path) as slide:
        assert isinstance(slide, TiffSlide)
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
