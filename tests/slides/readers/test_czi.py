"""Zeiss CZI: the pixels that were written, as libCZI and OpenSlide show them, whatever the codec, level and place."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import pytest
from pylibCZIrw import czi

from tests.slides.contract import DamagedSample, DamagedSlideContract, SlideContract, SlideSample
from tests.support.czi import (
    JPEG,
    JPEG_XR,
    RAW,
    ZSTD,
    ZSTD_WITH_HEADER,
    Block,
    describe_czi,
    find_stored_bytes,
    tile_image,
    write_czi,
    write_czi_pyramid,
)
from tests.support.samples import make_noise, make_noise_levels
from wsisr.bounds import MAX_CZI_BLOCKS
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import open_slide
from wsisr.slides.associated import read_associated_image
from wsisr.slides.readers.czi import CACHE_BYTES, CziSlide, open_czi
from wsisr.slides.scanner import identify_scanner, parse_scan_date
from wsisr.slides.slide import UndecodableError

LEVELS = make_noise_levels(Size(221, 180), Size(111, 90), Size(56, 45))
LOSSLESS = [RAW, JPEG_XR, ZSTD, ZSTD_WITH_HEADER]


def read_level(path: Path, level: int = 0, **options: Any) -> Rgb:
    with open_slide(path, **options) as slide:
        assert slide.info.reader == "imagecodecs"
        return slide.read(Box.from_size(slide.info.levels[level].size), level)


def read_with_libczi(path: Path, zoom: float = 1.0, **options: Any) -> Rgb:
    with czi.open_czi(str(path)) as file:
        bgr = np.asarray(file.read(zoom=zoom, background_pixel=(1.0, 1.0, 1.0), **options))
    return np.ascontiguousarray(bgr[..., ::-1])


def make_overlapping_tiles(image: Rgb) -> list[Block]:
    """Cut an image into tiles that overlap, and let those of lower numbers differ from it where others lie above."""
    blocks = []
    for block in tile_image(image, overlap=12, codec=JPEG_XR):
        pixels = block.pixels.copy()
        if block.left + 64 < image.shape[1]:
            pixels[:, 52:] = 7
        if block.top + 64 < image.shape[0]:
            pixels[52:] = 7
        blocks.append(Block(pixels, block.left, block.top, 1, JPEG_XR, block.dimensions))
    return blocks


class TestCzi(SlideContract):
    @pytest.fixture(scope="class")
    @classmethod
    def sample(cls, tmp_path_factory: pytest.TempPathFactory) -> SlideSample:
        finest = LEVELS[0].copy()
        finest[64:128, 64:128] = 255  # a hole: this tile is not stored
        tiles = [block for block in tile_image(finest, codec=ZSTD) if (block.left, block.top) != (64, 64)]
        coarser = [
            block for number in (1, 2) for block in tile_image(LEVELS[number], downsample=2**number, codec=JPEG_XR)
        ]
        path = write_czi(tmp_path_factory.mktemp("czi") / "a.czi", tiles + coarser)
        return SlideSample(lambda: open_slide(path), [finest, *LEVELS[1:]])


class TestOverlappingTiles(SlideContract):
    @pytest.fixture(scope="class")
    @classmethod
    def sample(cls, tmp_path_factory: pytest.TempPathFactory) -> SlideSample:
        blocks = make_overlapping_tiles(LEVELS[0])
        path = write_czi(tmp_path_factory.mktemp("czi") / "a.czi", blocks[::2] + blocks[1::2])
        return SlideSample(lambda: open_slide(path), [LEVELS[0]])


class TestDamagedCzi(DamagedSlideContract):
    @pytest.fixture(scope="class")
    @classmethod
    def damaged_sample(cls, tmp_path_factory: pytest.TempPathFactory) -> DamagedSample:
        path = write_czi_pyramid(tmp_path_factory.mktemp("czi") / "a.czi", LEVELS[:1], JPEG_XR)
        start, count = find_stored_bytes(path, 5)
        stored = bytearray(path.read_bytes())
        stored[start : start + count] = b"x" * count
        path.write_bytes(stored)
        intact = [Box(x, 130, x + 40, 180) for x in range(0, 180, 30)]
        return DamagedSample(
            lambda: open_slide(path), path, Box(70, 70, 120, 120), intact, "level 0, x 70, y 70, 50 x 50 px"
        )


@pytest.mark.parametrize("codec", LOSSLESS)
def test_every_codec_gives_the_pixels_that_libczi_gives(tmp_path: Path, codec: int) -> None:
    path = write_czi_pyramid(tmp_path / "a.czi", LEVELS, codec)
    for number, level in enumerate(LEVELS):
        np.testing.assert_array_equal(read_level(path, number), level)
    np.testing.assert_array_equal(read_with_libczi(path)[:180, :221], LEVELS[0])


@pytest.mark.parametrize("options", [None, "zstd0:", "zstd1:ExplicitLevel=2"])
def test_a_file_that_libczi_wrote_has_its_pixels_and_its_pixel_size(tmp_path: Path, options: str | None) -> None:
    path, image = tmp_path / "a.czi", LEVELS[0]
    with czi.create_czi(str(path), compression_options=options) as file:
        for left, top in ((0, 0), (64, 0), (64, 64)):
            tile = np.ascontiguousarray(image[top : top + 64, left : left + 64, ::-1])
            file.write(tile, location=(left - 30, top + 40))
        file.write_metadata("a", scale_x=0.25e-6, scale_y=0.25e-6)
    np.testing.assert_array_equal(read_level(path), read_with_libczi(path))
    with open_slide(path) as slide:
        assert slide.info.mpp == pytest.approx(0.25)
        np.testing.assert_array_equal(slide.read(Box(64, 64, 128, 128), 0), image[64:128, 64:128])


@pytest.mark.parametrize("codec", [RAW, ZSTD, ZSTD_WITH_HEADER])
def test_openslide_shows_the_same_pixels_where_it_has_the_codec(tmp_path: Path, codec: int) -> None:
    path = write_czi_pyramid(tmp_path / "a.czi", [LEVELS[0][:, :220], LEVELS[1][:, :110]], codec)
    with openslide.OpenSlide(path) as slide:
        for number, size in enumerate(slide.level_dimensions):
            seen = np.asarray(slide.read_region((0, 0), number, size))[..., :3]
            np.testing.assert_array_equal(read_level(path, number), seen)


def test_jpeg_is_decoded_to_within_its_own_losses(tmp_path: Path) -> None:
    flat = np.full((64, 64, 3), (200, 120, 60), np.uint8)
    assert np.abs(read_level(write_czi(tmp_path / "a.czi", [Block(flat, codec=JPEG)])).astype(int) - flat).max() <= 2


def test_the_tile_of_the_higher_number_lies_above_as_in_libczi(tmp_path: Path) -> None:
    low, high = (np.full((60, 60, 3), value, np.uint8) for value in (10, 200))
    for numbers in ((0, 1), (1, 0)):
        blocks = [
            Block(image, corner, corner, dimensions={"C": 0, "M": number})
            for image, corner, number in zip((low, high), (0, 30), numbers, strict=True)
        ]
        for order in (blocks, blocks[::-1]):
            path = write_czi(tmp_path / "a.czi", order)
            np.testing.assert_array_equal(read_level(path), read_with_libczi(path))


def test_each_scene_is_an_image_and_the_largest_is_the_default(tmp_path: Path) -> None:
    pieces = [make_noise(Size(*sides), number) for number, sides in enumerate([(60, 50), (90, 80), (70, 60)])]
    blocks = [
        Block(piece, 500 * number, -70 * number, dimensions={"C": 0, "S": number, "M": 0})
        for number, piece in enumerate(pieces)
    ]
    overview = Block(make_noise(Size(70, 10)), 0, -140, 16, dimensions={"C": 0})
    path = write_czi(tmp_path / "a.czi", [*blocks, overview])
    with open_slide(path) as slide:
        assert slide.info.series_number == 1
        assert [series.name for series in slide.info.all_series] == ["scene 0", "scene 1", "scene 2"]
        assert "holds 3 images" in slide.info.warnings[0]
    for number, piece in enumerate(pieces):
        np.testing.assert_array_equal(read_level(path, series=number), piece)
        np.testing.assert_array_equal(read_with_libczi(path, scene=number), piece)
    with pytest.raises(SlideError, match="there is no series 3; series are 0 to 2"):
        open_slide(path, series=3)


def test_of_several_focal_planes_the_middle_one_is_read_and_that_is_said(tmp_path: Path) -> None:
    planes = [make_noise(Size(50, 40), number) for number in range(3)]
    blocks = [Block(plane, dimensions={"C": 0, "Z": number}) for number, plane in enumerate(planes)]
    path = write_czi(tmp_path / "a.czi", blocks)
    with open_slide(path) as slide:
        assert slide.info.warnings == ("the slide holds 3 planes (focus, channels or times); C 0, Z 1 is read",)
    np.testing.assert_array_equal(read_level(path), planes[1])


def test_facts_are_those_of_the_image_and_of_the_objective_that_it_refers_to(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", [Block(LEVELS[0])], describe_czi(0.22, 20))
    with open_slide(path) as slide:
        assert slide.info.mpp == pytest.approx(0.22)
        assert slide.info.objective == 20
        assert slide.info.vendor == "zeiss"
        assert identify_scanner("zeiss", slide.info.properties) == {
            "scanner maker": "Zeiss",
            "scanner model": "Axio Scan.Z1",
        }
        assert parse_scan_date(slide.info.properties) == "2024-03-05"


@pytest.mark.parametrize("metadata", ["", "<ImageDocument/>", "<a><b>", "<!DOCTYPE a><a/>"])
def test_metadata_that_say_nothing_leave_the_pixel_size_open(tmp_path: Path, metadata: str) -> None:
    with open_slide(write_czi(tmp_path / "a.czi", [Block(LEVELS[0])], metadata)) as slide:
        assert slide.info.mpp is None
        assert slide.info.objective is None


def test_the_label_is_read_where_openslide_opens_the_file(tmp_path: Path) -> None:
    label = np.full((30, 50, 3), 90, np.uint8)
    blocks = list(tile_image(LEVELS[0], 256))
    attachments = {"Label": imagecodecs.jpeg8_encode(label)}
    path = write_czi(tmp_path / "a.czi", blocks, describe_czi(size=(221, 180)), attachments)
    with open_slide(path) as slide:
        assert slide.info.associated == {"label": Size(50, 30)}
        assert np.abs(read_associated_image(slide.info, "label").astype(int) - label).max() <= 1


def test_a_level_that_leaves_out_part_of_the_slide_is_not_used(tmp_path: Path) -> None:
    image = make_noise(Size(256, 256))
    part = Block(make_noise(Size(128, 64)), 0, 0, 2)
    with open_slide(write_czi(tmp_path / "a.czi", [*tile_image(image), part])) as slide:
        assert len(slide.info.levels) == 1
        assert slide.info.warnings == ("a level of 1/2 does not cover the slide; it is not used",)


@pytest.mark.parametrize("rounded", [-1, 0])
def test_levels_whose_sizes_were_rounded_up_or_down_have_whole_downsamples(tmp_path: Path, rounded: int) -> None:
    coarse = make_noise(Size(51 + rounded, 41 + rounded))
    path = write_czi(tmp_path / "a.czi", [Block(make_noise(Size(101, 81))), Block(coarse, downsample=2)])
    with open_slide(path) as slide:
        assert [level.downsample for level in slide.info.levels] == [1, 2]
    np.testing.assert_array_equal(read_level(path, 1), coarse)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (LEVELS[0][..., 0], "a grayscale image"),
        (LEVELS[0][..., 0].astype(np.uint16), "a 16-bit grayscale image"),
        (LEVELS[0].astype(np.uint16), "a 16-bit RGB image"),
    ],
)
def test_other_pixels_than_8_bit_rgb_are_refused_by_name(tmp_path: Path, pixels: Any, words: str) -> None:
    with pytest.raises(SlideError, match=f"holds {words}.*give a brightfield slide of 8-bit RGB"):
        open_slide(write_czi(tmp_path / "a.czi", [Block(pixels)]))


def find_directory(content: bytes) -> int:
    return content.index(b"ZISRAWDIRECTORY") + 32


def change(path: Path, position: int, data: bytes) -> Path:
    content = bytearray(path.read_bytes())
    content[position : position + len(data)] = data
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("where", "data", "words"),
    [
        (lambda _: 32 + 48, struct.pack("<i", 1), "one file of a set"),
        (lambda _: 32 + 52, bytes(8), "recording was not finished"),
        (lambda _: 32 + 52, struct.pack("<q", 2**62), "there is no byte|too early"),
        (lambda _: 32 + 52, struct.pack("<q", 64), "no ZISRAWDIRECTORY at byte 64"),
        (find_directory, struct.pack("<i", MAX_CZI_BLOCKS + 1), f"lists {MAX_CZI_BLOCKS + 1} blocks"),
        (find_directory, struct.pack("<i", 300), "cut off|damaged"),
        (lambda content: find_directory(content) + 128 + 18, struct.pack("<i", 2), "codec 2"),
        (lambda content: find_directory(content) + 128 + 32 + 16, struct.pack("<i", 2**30), "finest level|larger than"),
    ],
)
def test_a_damaged_container_is_one_line_that_says_what_is_wrong(
    tmp_path: Path, where: Any, data: bytes, words: str
) -> None:
    path = write_czi(tmp_path / "a.czi", [Block(LEVELS[0])])
    change(path, where(path.read_bytes()), data)
    with pytest.raises(SlideError, match=words) as caught:
        open_slide(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_row_of_boxes_decodes_each_block_once(tmp_path: Path) -> None:
    blocks = [Block(np.full((600, 600, 3), 7, np.uint8), left, 0, codec=ZSTD) for left in range(0, 39000, 600)]
    info, levels = open_czi(write_czi(tmp_path / "a.czi", blocks))
    assert len(blocks) * 600 * 600 * 3 > CACHE_BYTES
    with CziSlide(info, levels) as slide:
        for top in (0, 300):
            for left in range(0, info.size.width, 900):
                slide.read(Box(left, top, left + 900, top + 300), 0)
        assert slide._decode_cached.cache_info().misses == len(blocks)


def test_a_slide_of_another_suffix_is_known_by_its_content(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.dat", [Block(LEVELS[0])])
    with open_slide(path) as slide:
        assert slide.info.vendor == "zeiss"


def test_a_jpeg_block_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    image = make_noise(Size(64, 64))
    path = write_czi_pyramid(tmp_path / "slide.czi", [image], JPEG)
    start, length = find_stored_bytes(path, 0)
    content = bytearray(path.read_bytes())
    content[start + length // 2 : start + length] = bytes(length - length // 2)
    path.write_bytes(content)
    with open_slide(path) as slide, pytest.raises(UndecodableError):
        slide.read(Box(0, 0, 64, 64), 0)
