"""Laws of tiling and blending."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wsisr.imaging.blending import Blender
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.imaging.tiling import TileGrid, Tiling
from wsisr.models.upscaler import Resampling

sizes = st.builds(Size, st.integers(1, 48), st.integers(1, 48))
tilings = st.integers(1, 40).flatmap(
    lambda step: st.builds(
        Tiling,
        st.just(step),
        st.integers(0, 12),
        st.integers(0, step),
        st.sampled_from([1, 2, 7, 16]),
        st.sampled_from([1, 2, 4]),
    )
)


def noise(size: Size) -> Rgb:
    return np.random.default_rng(0).integers(0, 256, (size.height, size.width, 3), dtype=np.uint8)


def enlarge_by_tiles(image: Rgb, grid: TileGrid, scale: int) -> Rgb:
    """Cut an image, enlarge it tile by tile with Pillow's bicubic, and blend the tiles."""
    upscaler, blender = Resampling("bicubic", scale), Blender(grid, scale)
    result = np.zeros((grid.image.height * scale, grid.image.width * scale, 3), np.uint8)
    for tile in grid:
        pixels_read = image[tile.input_box.rows, tile.input_box.columns]
        box, pixels = blender.blend_tile(tile, upscaler(pixels_read[None])[0])
        result[box.rows, box.columns] = pixels
    return result


@given(sizes, tilings)
def test_cores_cover_the_image_once(size: Size, tiling: Tiling) -> None:
    count = np.zeros((size.height, size.width), int)
    for tile in TileGrid(size, tiling):
        count[tile.core.rows, tile.core.columns] += 1
    assert (count == 1).all()


@given(sizes, tilings)
def test_input_boxes_stay_inside_the_image_and_contain_their_blend_box(size: Size, tiling: Tiling) -> None:
    for tile in TileGrid(size, tiling):
        assert Box.from_size(size).contains(tile.input_box)
        assert tile.input_box.contains(tile.blend_box)
        assert tile.blend_box.contains(tile.core)


@given(sizes, tilings, st.integers(0, 99))
def test_around_a_tile_the_halo_is_read_and_little_more(size: Size, tiling: Tiling, around: int) -> None:
    readable = Box.from_size(size).expand(around)
    for tile in TileGrid(size, tiling, readable):
        needed = tile.blend_box.expand(tiling.halo_px).intersection(readable)
        assert readable.contains(tile.input_box)
        assert tile.input_box.contains(needed)
        assert tile.input_box.bottom == needed.bottom
        assert tile.input_box.height < needed.height + tiling.cell_px
        assert tile.input_box.width < needed.width + tiling.width_multiple + 2 * (tiling.cell_px - 1)


@given(sizes, tilings, st.integers(0, 99))
def test_input_boxes_are_a_multiple_wide_unless_the_image_ends(size: Size, tiling: Tiling, around: int) -> None:
    readable = Box.from_size(size).expand(around)
    for tile in TileGrid(size, tiling, readable):
        box = tile.input_box
        ends = box.columns == readable.columns or (tiling.cell_px > 1 and box.right == readable.right)
        assert box.width % tiling.width_multiple == 0 or ends


@given(sizes, tilings, st.integers(0, 99))
def test_input_boxes_begin_on_a_cell_of_what_can_be_read(size: Size, tiling: Tiling, around: int) -> None:
    readable = Box.from_size(size).expand(around)
    for tile in TileGrid(size, tiling, readable):
        inside = tile.input_box.relative_to(readable)
        assert inside.left % tiling.cell_px == inside.top % tiling.cell_px == 0


@given(st.integers(1, 50), st.integers(0, 200), st.integers(0, 60))
def test_neighbours_overlap_as_requested_unless_less_is_exact(step: int, overlap: int, receptive_field: int) -> None:
    tiling = Tiling.from_overlap(step, overlap, receptive_field)
    assert 2 * tiling.halo_px + tiling.feather_px == min(overlap, 2 * receptive_field)


@given(sizes, tilings)
def test_input_pixels_are_those_of_all_input_boxes(size: Size, tiling: Tiling) -> None:
    grid = TileGrid(size, tiling)
    assert grid.input_pixel_count == sum(tile.input_box.size.pixel_count for tile in grid)


@given(sizes, st.integers(3, 40), st.integers(0, 20), st.sampled_from([2, 4]))
def test_a_halo_of_the_receptive_field_gives_the_result_of_the_whole_image(
    size: Size, step: int, more: int, scale: int
) -> None:
    tiling = Tiling.from_overlap(step, 2 * 3 + more, receptive_field=3)
    assert tiling.feather_px == 0
    image = noise(size)
    whole = Resampling("bicubic", scale)(image[None])[0]
    np.testing.assert_array_equal(enlarge_by_tiles(image, TileGrid(size, tiling), scale), whole)


@given(sizes, tilings)
def test_blending_equal_tiles_changes_nothing(size: Size, tiling: Tiling) -> None:
    grid = TileGrid(size, tiling)
    image = noise(size)
    blender = Blender(grid, 1)
    for tile in grid:
        box, pixels = blender.blend_tile(tile, image[tile.input_box.rows, tile.input_box.columns])
        np.testing.assert_array_equal(pixels, image[box.rows, box.columns])


@given(sizes, tilings)
def test_blending_never_leaves_the_range_of_the_tiles(size: Size, tiling: Tiling) -> None:
    grid = TileGrid(size, tiling)
    blender = Blender(grid, 1)
    for index, tile in enumerate(grid):
        level = np.uint8(100 + 50 * (index % 2))
        _, pixels = blender.blend_tile(tile, np.full((tile.input_box.height, tile.input_box.width, 3), level, np.uint8))
        assert pixels.min() >= 100
        assert pixels.max() <= 150


def test_a_feather_is_a_linear_ramp() -> None:
    grid = TileGrid(Size(40, 1), Tiling(core_px=20, halo_px=0, feather_px=10))
    blender = Blender(grid, 1)
    row = np.zeros(40)
    for tile, level in zip(grid, (0, 200), strict=True):
        box, pixels = blender.blend_tile(tile, np.full((1, tile.input_box.width, 3), level, np.uint8))
        row[box.columns] = pixels[0, :, 0]
    np.testing.assert_array_equal(row[20:30], np.arange(10, 200, 20))
    assert set(row[:20]) == {0}
    assert set(row[30:]) == {200}
