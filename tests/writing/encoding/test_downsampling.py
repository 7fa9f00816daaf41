from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.samples import make_noise
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, halve_image
from wsisr.parallel.threads import ThreadTeam
from wsisr.writing.encoding.block import encode_block
from wsisr.writing.encoding.codec import Codec
from wsisr.writing.encoding.downsampling import PyramidLevels
from wsisr.writing.encoding.encoder import LocalEncoder
from wsisr.writing.encoding.grid import LevelGrid, build_level_grids
from wsisr.writing.workdir.byte_store import ByteStore
from wsisr.writing.workdir.run_log import RunLog
from wsisr.writing.workdir.tile_journal import TileJournal
from wsisr.writing.workdir.tile_store import TileStore

TILE_PX = 16
LOSSLESS, LOSSY = Codec("deflate"), Codec("jpeg", 60, "420")

sizes = st.builds(Size, st.integers(1, 150), st.integers(1, 150))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("levels")


@contextmanager
def open_stores(
    folder: Path, size: Size, codec: Codec = LOSSLESS, *, journals: bool = False
) -> Iterator[tuple[list[TileStore], PyramidLevels]]:
    """Open the stores of all levels; with journals, those of an earlier run."""
    grids = build_level_grids(size, TILE_PX)

    run_log = RunLog(folder / "log", folder)

    def journal(name: str) -> TileJournal | None:
        return TileJournal(folder / f"{name}.journal", run_log) if journals else None

    stores = [TileStore(folder / f"{n}.tiles", grid, codec, journal(str(n))) for n, grid in enumerate(grids)]
    halved = [
        ByteStore(folder / f"{n}.halves", grid.tile_count, journal(f"{n}-halved")) for n, grid in enumerate(grids[:-1])
    ]
    try:
        yield stores, PyramidLevels(stores, halved)
    finally:
        for store in (*stores, *halved):
            store.close()
        run_log.close()


def store_tiles(
    stores: list[TileStore], levels: PyramidLevels, tiles: list[int], threads: int = 1, side: int = 1
) -> None:
    """Store these tiles of an image of noise, in squares of `side` tiles."""
    grid, codec = stores[0].grid, stores[0].codec
    image = make_noise(grid.size)

    def put(square: list[int]) -> None:
        boxes = map(grid.tile_box, square)
        levels.store_tiles(LocalEncoder(codec, TILE_PX), square, [image[box.rows, box.columns] for box in boxes])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(put, grid.group_by_square(tiles, side)))


def store_blocks(stores: list[TileStore], levels: PyramidLevels, side: int, random: object) -> None:
    """Store what an earlier run left, in blocks of `side` tiles that were encoded elsewhere, in any order."""
    grids, codec = [store.grid for store in stores], stores[0].codec
    image, block_grid = make_noise(grids[0].size), LevelGrid(grids[0].size, side * TILE_PX)
    numbers = list(range(block_grid.tile_count))
    random.shuffle(numbers)  # type: ignore[attr-defined]
    for number in numbers:
        box = block_grid.tile_box(number)
        block = encode_block(LocalEncoder(codec, TILE_PX), grids, box, image[box.rows, box.columns])
        missing = [tile for tile in block.tiles[0] if not stores[0].from_earlier_run[tile]]
        levels.store_block(LocalEncoder(codec, TILE_PX), missing, block)


def shuffled_tiles(stores: list[TileStore], random: object) -> list[int]:
    tiles = list(range(stores[0].grid.tile_count))
    random.shuffle(tiles)  # type: ignore[attr-defined]
    return tiles


def encode_and_decode(image: Rgb, store: TileStore) -> Rgb:
    """Return what readers see of an image that is stored in tiles."""
    boxes = [store.grid.tile_box(tile) for tile in range(store.grid.tile_count)]
    for box in boxes:
        decoded = store.codec.decode(store.codec.encode(image[box.rows, box.columns], TILE_PX), TILE_PX)
        image[box.rows, box.columns] = decoded[: box.height, : box.width]
    return image


@settings(max_examples=30, deadline=None)
@given(
    sizes, st.randoms(use_true_random=False), st.integers(1, 4), st.integers(1, 5), st.sampled_from([LOSSLESS, LOSSY])
)
def test_with_the_last_tile_every_level_is_there_and_is_the_mean_of_the_one_above_before_it_was_encoded(
    folder: Path, size: Size, random: object, threads: int, side: int, codec: Codec
) -> None:
    with open_stores(folder, size, codec) as (stores, levels):
        store_tiles(stores, levels, shuffled_tiles(stores, random), threads, side)
        image = make_noise(size)
        for store in stores:
            seen = store.read(Box.from_size(store.grid.size))
            np.testing.assert_array_equal(seen, encode_and_decode(image.copy(), store))
            image = halve_image(image)


@settings(max_examples=30, deadline=None)
@given(sizes, st.data())
def test_a_coarser_tile_is_there_exactly_where_all_that_it_shows_is(
    folder: Path, size: Size, data: st.DataObject
) -> None:
    with open_stores(folder, size) as (stores, levels):
        tiles = data.draw(st.lists(st.sampled_from(range(stores[0].grid.tile_count)), unique=True))
        store_tiles(stores, levels, tiles)
        stored = np.zeros((size.height, size.width), bool)
        for tile in tiles:
            stored[stores[0].grid.tile_box(tile).rows, stores[0].grid.tile_box(tile).columns] = True
        for number, store in enumerate(stores):
            for tile in range(store.grid.tile_count):
                shown = store.grid.tile_box(tile) * 2**number
                assert stored[shown.rows, shown.columns].all() == (not store.select_missing(range(tile, tile + 1)))


@settings(max_examples=20, deadline=None)
@given(sizes, st.data())
def test_a_tile_outlives_no_tile_that_it_was_made_from(folder: Path, size: Size, data: st.DataObject) -> None:
    remove_files(folder)
    with open_stores(folder, size, journals=True) as (stores, levels):
        store_tiles(stores, levels, list(range(stores[0].grid.tile_count)))
        lost = data.draw(st.integers(0, stores[0].grid.tile_count - 1))
        with (folder / "0.tiles").open("r+b") as cut:
            cut.seek(stores[0].nbytes * lost // stores[0].grid.tile_count)
            cut.write(bytes(64))  # a power cut left the record of a tile and not the tile
    with open_stores(folder, size, journals=True) as (stores, _):
        kept = [store.from_earlier_run.reshape(store.grid.rows, store.grid.columns) for store in stores]
        assert not kept[0].all()
        for number, flags in enumerate(kept[1:], 1):
            for row, column in np.argwhere(flags):
                rows, columns = (slice(first * 2**number, (first + 1) * 2**number) for first in (row, column))
                assert kept[0][rows, columns].all()


def cut_journals(folder: Path, data: st.DataObject) -> None:
    """Keep only the beginning of each journal, as a kill or a power cut does."""
    for journal in sorted(folder.glob("*.journal")):
        content = journal.read_bytes()
        journal.write_bytes(content[: data.draw(st.integers(0, len(content)))])


@settings(max_examples=20, deadline=None)
@given(sizes, st.data(), st.randoms(use_true_random=False), st.integers(1, 5))
def test_a_run_that_resumes_stores_the_same_bytes_wherever_it_was_stopped(
    folder: Path, size: Size, data: st.DataObject, random: object, side: int
) -> None:
    remove_files(folder)
    with open_stores(folder, size, LOSSY) as (stores, levels):
        store_tiles(stores, levels, list(range(stores[0].grid.tile_count)))
        whole = [list_encoded(store) for store in stores]
    remove_files(folder)
    with open_stores(folder, size, LOSSY, journals=True) as (stores, levels):
        tiles = shuffled_tiles(stores, random)
        store_tiles(stores, levels, tiles[: data.draw(st.integers(0, len(tiles)))], side=side)
    cut_journals(folder, data)
    with open_stores(folder, size, LOSSY, journals=True) as (stores, levels):
        store_tiles(stores, levels, [tile for tile in tiles if not stores[0].from_earlier_run[tile]], side=side)
        team = ThreadTeam(1, "test")
        deque(levels.complete_levels(team, lambda: nullcontext(LocalEncoder(LOSSY, TILE_PX))), 0)
        team.close()
        assert [list_encoded(store) for store in stores] == whole


@settings(max_examples=25, deadline=None)
@given(sizes, st.data(), st.randoms(use_true_random=False), st.integers(1, 6))
def test_blocks_encoded_elsewhere_complete_what_a_stopped_run_left_with_the_same_bytes(
    folder: Path, size: Size, data: st.DataObject, random: object, side: int
) -> None:
    remove_files(folder)
    with open_stores(folder, size, LOSSY) as (stores, levels):
        store_tiles(stores, levels, list(range(stores[0].grid.tile_count)))
        whole = [list_encoded(store) for store in stores]
    remove_files(folder)
    with open_stores(folder, size, LOSSY, journals=True) as (stores, levels):
        tiles = shuffled_tiles(stores, random)
        store_tiles(stores, levels, tiles[: data.draw(st.integers(0, len(tiles)))])
    cut_journals(folder, data)
    with open_stores(folder, size, LOSSY, journals=True) as (stores, levels):
        store_blocks(stores, levels, side, random)
        team = ThreadTeam(1, "test")
        deque(levels.complete_levels(team, lambda: nullcontext(LocalEncoder(LOSSY, TILE_PX))), 0)
        team.close()
        assert [list_encoded(store) for store in stores] == whole


def remove_files(folder: Path) -> None:
    for file in folder.glob("*.*"):
        file.unlink()


def list_encoded(store: TileStore) -> list[bytes]:
    return [store.read_encoded(tile) for tile in range(store.grid.tile_count)]
