"""Laws of the background: which pixels no network makes, and that this does not depend on the cutting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.samples import InMemorySlide, make_noise, upscale_pixels
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, RgbBatch, enlarge_image
from wsisr.models.upscaler import Resampling, UpscalerInfo
from wsisr.slides.region import SlideRegion
from wsisr.tissue import TissueMap, make_full_map
from wsisr.upscaling.background import BackgroundOptions
from wsisr.upscaling.engine import enlarge_blocks
from wsisr.upscaling.plan import UpscaleOptions, plan_upscaling

SIZE = Size(330, 270)
CELL = 64
"""Input px of a stored tile at scale 4."""


class Counting:
    """Lanczos that counts what goes through it: unlike bicubic everywhere."""

    info = UpscalerInfo("counting", scale=4, receptive_field=3, hardware="nowhere")
    warnings: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.tiles = self.pixels = 0

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        self.tiles += len(tiles)
        self.pixels += tiles.size // 3
        return Resampling("lanczos", 4)(tiles)


def marked(flags: list[list[bool]]) -> TissueMap:
    """One flag a cell of the picture."""
    fine = np.array(flags).repeat(CELL, axis=0).repeat(CELL, axis=1)
    return TissueMap(fine[: SIZE.height, : SIZE.width], "marked")


def expected(pixels: Rgb, flags: list[list[bool]]) -> Rgb:
    mask = marked(flags).mask.repeat(4, axis=0).repeat(4, axis=1)[..., None]
    return np.where(mask, enlarge_image(pixels, 4, "lanczos"), enlarge_image(pixels, 4, "bicubic"))


maps = st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=5, max_size=5)


@settings(max_examples=8)
@given(maps, st.sampled_from([64, 128, 192, 512]), st.integers(1, 3))
def test_each_cell_is_the_networks_or_bicubics_however_the_image_is_cut(
    flags: list[list[bool]], tile_px: int, batch: int
) -> None:
    pixels = make_noise(SIZE)
    options = UpscaleOptions(tile_px, batch=batch, background=BackgroundOptions(marked(flags)))
    np.testing.assert_array_equal(upscale_pixels(pixels, Counting(), options), expected(pixels, flags))


@settings(max_examples=5)
@given(maps)
def test_cells_without_tissue_are_bicubics_where_tiles_are_blended_too(flags: list[list[bool]]) -> None:
    class Wide(Counting):
        context = 20

    pixels = make_noise(SIZE)
    result = upscale_pixels(
        pixels, Wide(), UpscaleOptions(128, overlap_px=24, background=BackgroundOptions(marked(flags)))
    )
    glass = ~marked(flags).mask.repeat(4, axis=0).repeat(4, axis=1)
    np.testing.assert_array_equal(result[glass], enlarge_image(pixels, 4, "bicubic")[glass])


def test_a_region_is_decided_as_the_whole_slide_is() -> None:
    flags = [[(row + column) % 3 == 0 for column in range(6)] for row in range(5)]
    picture, background = InMemorySlide(make_noise(SIZE)), BackgroundOptions(marked(flags))
    source = SlideRegion(picture, 0).crop_to_area(Box(CELL, 2 * CELL, 5 * CELL, 4 * CELL))
    whole = expected(picture.pixels, flags)
    for box, pixels in enlarge_blocks(plan_upscaling(source, Counting(), UpscaleOptions(64, background=background))):
        place = box.translate(CELL * 4, 2 * CELL * 4)
        np.testing.assert_array_equal(pixels, whole[place.rows, place.columns])


@settings(max_examples=8)
@given(maps)
def test_a_tile_without_tissue_never_meets_the_network(flags: list[list[bool]]) -> None:
    upscaler = Counting()
    upscale_pixels(
        make_noise(SIZE), upscaler, UpscaleOptions(CELL, background=BackgroundOptions(marked(flags), white=True))
    )
    assert upscaler.tiles == np.array(flags).sum()


def test_of_a_tile_with_little_tissue_the_network_sees_no_more_than_that_needs() -> None:
    flags = [[(column, row) in ((1, 2), (2, 2)) for column in range(6)] for row in range(5)]
    upscaler = Counting()
    upscale_pixels(make_noise(SIZE), upscaler, UpscaleOptions(512, background=BackgroundOptions(marked(flags))))
    assert upscaler.pixels == (2 * CELL + 2 * upscaler.info.receptive_field) * (
        CELL + 2 * upscaler.info.receptive_field
    )


def test_a_white_background_is_pure() -> None:
    flags = [[column < 3 for column in range(6)] for _ in range(5)]
    pixels = upscale_pixels(
        make_noise(SIZE), Counting(), UpscaleOptions(512, background=BackgroundOptions(marked(flags), white=True))
    )
    assert (pixels[:, 3 * CELL * 4 :] == 255).all()
    assert (pixels[:, : 3 * CELL * 4] != 255).any()


def test_what_the_slide_does_not_have_stays_white_and_costs_no_network() -> None:
    class Inventive(Counting):
        def __call__(self, tiles: RgbBatch) -> RgbBatch:
            return super().__call__(tiles) // 2

    pixels = np.full((270, 330, 3), 255, np.uint8)
    upscaler = Inventive()
    assert (upscale_pixels(pixels, upscaler, UpscaleOptions(64)) == 255).all()
    assert upscaler.tiles == 0
    pixels[100, 100] = 0
    cuts = [upscale_pixels(pixels, Inventive(), UpscaleOptions(tile_px)) for tile_px in (64, 128, 512)]
    np.testing.assert_array_equal(cuts[0], cuts[1])
    np.testing.assert_array_equal(cuts[0], cuts[2])


@given(maps)
def test_the_share_without_tissue_is_one_of_area_and_what_is_busy_one_of_what_is_read(flags: list[list[bool]]) -> None:
    plan = plan_upscaling(
        SlideRegion(InMemorySlide(make_noise(SIZE)), 0),
        Counting(),
        UpscaleOptions(CELL, 0, background=BackgroundOptions(marked(flags))),
    )
    tissue = marked(flags).mask.mean()
    assert plan.background.skipped_share == pytest.approx(1 - tissue)
    assert plan.grid.input_pixel_count == SIZE.pixel_count
    assert plan.network_pixel_count == pytest.approx(tissue * SIZE.pixel_count)


def test_the_note_tells_the_share_only_where_there_is_one() -> None:
    source = SlideRegion(InMemorySlide(make_noise(SIZE)), 0)
    flags = [[column < 3 for column in range(6)] for _ in range(5)]
    note = plan_upscaling(
        source, Counting(), UpscaleOptions(background=BackgroundOptions(marked(flags)))
    ).output.metadata
    glass = 100 * (1 - 3 * CELL / SIZE.width)
    assert f"{glass:.1f} % of the area without tissue, marked; bicubic there" in note["background"]
    assert (
        "background"
        not in plan_upscaling(
            source, Counting(), UpscaleOptions(background=BackgroundOptions(make_full_map()))
        ).output.metadata
    )
