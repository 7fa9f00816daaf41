from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.samples import make_noise
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import halve_image
from wsisr.writing.encoding.codec import Codec
from wsisr.writing.encoding.downsampling import PyramidLevels
from wsisr.writing.encoding.encoder import LocalEncoder
from wsisr.writing.encoding.grid import build_level_grids
from wsisr.writing.workdir.run_log import RunLog
from wsisr.writing.workdir.tile_journal import TileJournal
from wsisr.writing.workdir.tile_store import TileStore

TILE_PX = 16
LOSSLESS = Codec("deflate")

sizes = st.builds(Size, st.integers(1, 150), st.integers(1, 150))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("levels")


def open_stores(folder: Path, size: Size, *, journals: bool = False) -> list[TileStore]:
    run_log = RunLog(folder / "log", folder)
    return [
        TileStore(
            folder / f"{n}.tiles", grid, LOSSLESS, TileJournal(folder / f"{n}.journal", run_log) if journals else None
        )
        for n, grid in enumerate(build_level_grids(size, TILE_PX))
    ]


def store_all(stores: list[TileStore], tiles: list[int], threads: int = 1, side: int = 1) -> None:
    """Store these tiles of an image of noise, in squares of `side` tiles."""
    levels, grid = PyramidLevels(stores), stores[0].grid
    image = make_noise(grid.size)

    def put(square: list[int]) -> None:
        boxes = map(grid.tile_box, square)
        levels.store_tiles(LocalEncoder(LOSSLESS, TILE_PX), square, [image[box.rows, box.columns] for box in boxes])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(put, grid.group_by_square(tiles, side)))


@settings(max_examples=30, deadline=None)
@given(sizes, st.randoms(use_true_random=False), st.integers(1, 4), st.integers(1, 5))
def test_with_the_last_tile_every_level_is_there_and_is_the_mean_of_the_one_above(
    folder: Path, size: Size, random: object, threads: int, side: int
) -> None:
    stores = open_stores(folder, size)
    tiles = list(range(stores[0].grid.tile_count))
    random.shuffle(tiles)  # type: ignore[attr-defined]
    store_all(stores, tiles, threads, side)
    image = make_noise(size)
    for store in stores:
        np.testing.assert_array_equal(store.read(Box.from_size(store.grid.size)), image)
        image = halve_image(image)
        store.close()


@settings(max_examples=30, deadline=None)
@given(sizes, st.data())
def test_a_coarser_tile_is_there_exactly_where_all_that_it_shows_is(
    folder: Path, size: Size, data: st.DataObject
) -> None:
    stores = open_stores(folder, size)
    tiles = data.draw(st.lists(st.sampled_from(range(stores[0].grid.tile_count)), unique=True))
    store_all(stores, tiles)
    stored = np.zeros((size.height, size.width), bool)
    for tile in tiles:
        stored[stores[0].grid.tile_box(tile).rows, stores[0].grid.tile_box(tile).columns] = True
    for number, store in enumerate(stores):
        for tile in range(store.grid.tile_count):
            shown = store.grid.tile_box(tile) * 2**number
            assert stored[shown.rows, shown.columns].all() == (not store.select_missing(range(tile, tile + 1)))
        store.close()


@settings(max_examples=20, deadline=None)
@given(sizes, st.data())
def test_a_tile_outlives_no_tile_that_it_was_made_from(folder: Path, size: Size, data: st.DataObject) -> None:
    for file in folder.glob("*.*"):
        file.unlink()
    stores = open_stores(folder, size, journals=True)
    store_all(stores, list(range(stores[0].grid.tile_count)))
    lost = data.draw(st.integers(0, stores[0].grid.tile_count - 1))
    with (folder / "0.tiles").open("r+b") as cut:
        cut.seek(stores[0].nbytes * lost // stores[0].grid.tile_count)
        cut.write(bytes(64))  # a power cut left the record of a tile and not the tile
    for store in stores:
        store.close()
    reopened = open_stores(folder, size, journals=True)
    PyramidLevels(reopened)
    kept = [store.from_earlier_run.reshape(store.grid.rows, store.grid.columns) for store in reopened]
    assert not kept[0].all()
    for number, flags in enumerate(kept[1:], 1):
        for row, column in np.argwhere(flags):
            assert kept[0][row * 2**number : (row + 1) * 2**number, column * 2**number : (column + 1) * 2**number].all()
    for store in reopened:
        store.close()
