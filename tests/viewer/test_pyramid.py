"""Every tile of the page is what its slide holds there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.formats import make_blobs
from tests.support.samples import make_noise, write_generic_pyramid, write_ome_zarr, write_tiff
from tests.viewer.pictures import Pair, write_scan
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, halve_image
from wsisr.slides import Slide, open_slide
from wsisr.viewer.pyramid import COARSEST_PX, JPEG, PNG, TilePyramid


def decode(data: bytes) -> Rgb:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


def assemble(pyramid: TilePyramid, number: int) -> Rgb:
    """Return a level of the page, put together from all of its tiles."""
    level = pyramid.levels[number]
    rows = []
    for row in range(level.rows):
        tiles = [pyramid.read_tile(number, column, row) for column in range(level.columns)]
        assert all(tiles)
        pictures = [decode(tile.data) for tile in tiles if tile]
        assert {picture.shape for picture in pictures} == {(level.tile.height, level.tile.width, 3)}
        rows.append(np.concatenate(pictures, axis=1))
    return np.concatenate(rows)[: level.size.height, : level.size.width]


def read_level(slide: Slide, number: int) -> Rgb:
    return slide.read(Box.from_size(slide.info.levels[number].size), number)


@pytest.fixture(params=["jpeg", "result", "zlib", "zarr", "png"])
def path(request: pytest.FixtureRequest, pair: Pair, tmp_path: Path) -> Path:
    if request.param == "zarr":
        return write_ome_zarr(tmp_path / "a.ome.zarr", [make_noise(Size(150, 90)), make_noise(Size(75, 45))], "0.4")
    if request.param == "png":
        Image.fromarray(make_noise(Size(140, 90))).save(tmp_path / "a.png")
        return tmp_path / "a.png"
    known = {"jpeg": pair.scan, "result": pair.result}
    return known.get(request.param) or write_scan(tmp_path / "a.tif", compression="zlib")


def test_tiles_of_a_stored_level_have_its_pixels_to_the_bit(path: Path) -> None:
    with open_slide(path) as slide:
        pyramid = TilePyramid(slide)
        for number, level in enumerate(pyramid.levels):
            if level.stored_level is not None:
                np.testing.assert_array_equal(assemble(pyramid, number), read_level(slide, level.stored_level))


def test_stored_jpegs_are_passed_through_and_others_are_png(pair: Pair, tmp_path: Path) -> None:
    for path, kind in (
        (pair.scan, JPEG),
        (pair.result, JPEG),
        (write_scan(tmp_path / "a.tif", compression="zlib"), PNG),
    ):
        with open_slide(path) as slide:
            tile = TilePyramid(slide).read_tile(0, 0, 0)
            stored = slide.read_jpeg_tile(0, 0, 0)
        assert tile
        assert tile.media_type == kind
        assert (tile.data == stored) == (kind == JPEG)


def test_levels_between_and_below_the_stored_ones_are_halves(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", make_blobs(Size(1100, 700)), tile=(256, 256))
    with open_slide(path) as slide:
        pyramid = TilePyramid(slide)
        expected = slide.read(Box.from_size(slide.info.size), 0)
        for number, level in enumerate(pyramid.levels):
            shown = assemble(pyramid, number).astype(int)
            assert Size(shown.shape[1], shown.shape[0]) == level.size
            assert np.abs(shown - expected).mean() < (5 if number else 0.01)  # JPEG of strong colours
            expected = halve_image(expected)
        assert max(pyramid.levels[-1].size.width, pyramid.levels[-1].size.height) <= COARSEST_PX
        factors = [level.downsample for level in pyramid.levels]
        assert all(coarse <= 2.8 * fine for fine, coarse in pairwise(factors))


def test_stored_levels_of_a_few_pixels_are_left_out(tmp_path: Path) -> None:
    sides = [640 >> halvings for halvings in range(8)]
    path = write_generic_pyramid(tmp_path / "a.tif", [make_noise(Size(side, side)) for side in sides])
    with open_slide(path) as slide:
        pyramid = TilePyramid(slide)
        assert [level.size.width for level in pyramid.levels] == [640, 320, 160]
        assert decode(pyramid.read_thumbnail().data).shape == (160, 160, 3)


def test_threads_that_want_one_tile_compute_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiff(tmp_path / "a.tif", make_blobs(Size(1100, 700)), tile=(256, 256))
    computed: list[tuple[int, int, int]] = []
    compute = TilePyramid._compute_tile

    def count_and_compute(pyramid: TilePyramid, *place: int) -> Rgb:
        computed.append((place[0], place[1], place[2]))
        return compute(pyramid, *place)

    monkeypatch.setattr(TilePyramid, "_compute_tile", count_and_compute)
    with open_slide(path) as slide, ThreadPoolExecutor(4) as threads:
        pyramid = TilePyramid(slide)
        tiles = list(threads.map(lambda _: pyramid.read_tile(len(pyramid.levels) - 1, 0, 0), range(4)))
    assert len({tile.data for tile in tiles if tile}) == 1
    assert len(computed) == len(set(computed)) > 1


@pytest.mark.parametrize("place", [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (9, 0, 0), (0, 5, 0), (0, 0, 4)])
def test_there_is_no_tile_beside_the_image(pair: Pair, place: tuple[int, int, int]) -> None:
    with open_slide(pair.scan) as slide:
        assert TilePyramid(slide).read_tile(*place) is None
