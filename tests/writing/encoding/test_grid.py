import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wsisr.imaging.geometry import Box, Size
from wsisr.writing.encoding.grid import LevelGrid, build_level_grids

sizes = st.builds(Size, st.integers(1, 300), st.integers(1, 300))
tiles = st.sampled_from([16, 32, 48])


@given(sizes, tiles)
def test_tiles_cover_a_level_once(size: Size, tile_px: int) -> None:
    grid = LevelGrid(size, tile_px)
    times = np.zeros((size.height, size.width), dtype=int)
    for tile in range(grid.tile_count):
        box = grid.tile_box(tile)
        times[box.rows, box.columns] += 1
    assert (times == 1).all()


@given(sizes, tiles, st.data())
def test_the_tiles_that_touch_a_box_are_those_that_share_pixels_with_it(
    size: Size, tile_px: int, data: st.DataObject
) -> None:
    grid = LevelGrid(size, tile_px)
    left, top = data.draw(st.integers(0, size.width - 1)), data.draw(st.integers(0, size.height - 1))
    box = Box(left, top, data.draw(st.integers(left + 1, size.width)), data.draw(st.integers(top + 1, size.height)))
    shared = [tile for tile in range(grid.tile_count) if grid.tile_box(tile).intersection(box).size.pixel_count > 0]
    assert list(grid.find_tiles(box)) == shared


@given(st.builds(Size, st.integers(1, 200_000), st.integers(1, 200_000)), st.sampled_from([16, 256, 512]))
def test_each_level_is_half_the_one_above_rounded_up_until_one_tile_holds_it(size: Size, tile_px: int) -> None:
    levels = [grid.size for grid in build_level_grids(size, tile_px)]
    assert levels[0] == size
    for number, level in enumerate(levels):
        assert level == Size(-(-size.width // 2**number), -(-size.height // 2**number))
        fits = max(level.width, level.height) <= tile_px
        assert fits == (number == len(levels) - 1)


@given(sizes, tiles, st.data())
def test_a_box_of_whole_tiles_is_the_union_of_the_tiles_it_touches(
    size: Size, tile_px: int, data: st.DataObject
) -> None:
    grid = LevelGrid(size, tile_px)
    edges = st.integers(0, 320)
    box = Box(data.draw(edges), data.draw(edges), data.draw(edges), data.draw(edges))
    inside = box.width > 0 and box.height > 0 and box.right <= size.width and box.bottom <= size.height
    whole = (
        inside and sum(grid.tile_box(tile).size.pixel_count for tile in grid.find_tiles(box)) == box.size.pixel_count
    )
    assert grid.has_whole_tiles(box) == whole
