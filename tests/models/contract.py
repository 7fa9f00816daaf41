"""The laws of the `Upscaler` protocol, as a test class that the test of every implementation inherits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.samples import make_noise
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import RgbBatch
from wsisr.models.upscaler import Upscaler

SIDES = st.integers(1, 40)
MARGINS = st.integers(0, 9)

few_examples = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.differing_executors])


def make_tiles(count: int, width: int, height: int) -> RgbBatch:
    """Return a batch of noise, another one for each tile."""
    return np.stack([make_noise(Size(width, height), seed) for seed in range(count)])


class UpscalerContract:
    """Laws of every `Upscaler`. A subclass defines the class-scoped fixture `upscaler`."""

    tolerance = 0
    """Grey levels by which a pixel may differ between batches or tiles of different shapes.

    1 for a network: its library chooses other kernels for other shapes, so sums are rounded in another order.
    """

    def assert_same(self, one: RgbBatch, other: RgbBatch) -> None:
        assert one.shape == other.shape
        assert np.abs(one.astype(np.int16) - other).max(initial=0) <= self.tolerance

    @few_examples
    @given(count=st.integers(1, 3), width=SIDES, height=SIDES)
    def test_tiles_of_any_shape_grow_by_the_scale(
        self, upscaler: Upscaler, count: int, width: int, height: int
    ) -> None:
        enlarged, scale = upscaler(make_tiles(count, width, height)), upscaler.info.scale
        assert enlarged.shape == (count, height * scale, width * scale, 3)
        assert enlarged.dtype == np.uint8

    def test_the_input_is_only_read(self, upscaler: Upscaler) -> None:
        tiles, unchanged = make_tiles(2, 20, 15), make_tiles(2, 20, 15)
        tiles.setflags(write=False)
        upscaler(tiles)
        np.testing.assert_array_equal(tiles, unchanged)

    def test_an_input_that_is_not_contiguous_gives_the_same(self, upscaler: Upscaler) -> None:
        tiles = make_tiles(2, 31, 26)[:, 3:-4, 5::2, ::-1]
        self.assert_same(upscaler(tiles), upscaler(np.ascontiguousarray(tiles)))

    def test_the_same_tiles_give_the_same_pixels_again(self, upscaler: Upscaler) -> None:
        tiles = make_tiles(2, 33, 21)
        np.testing.assert_array_equal(upscaler(tiles), upscaler(tiles))

    @few_examples
    @given(count=st.integers(2, 4), width=SIDES, height=SIDES)
    def test_a_batch_is_its_tiles_one_by_one(self, upscaler: Upscaler, count: int, width: int, height: int) -> None:
        tiles = make_tiles(count, width, height)
        self.assert_same(upscaler(tiles), np.concatenate([upscaler(tile[None]) for tile in tiles]))

    def test_threads_get_the_pixels_of_their_own_tiles(self, upscaler: Upscaler) -> None:
        batches = [make_tiles(2, 24 + number, 18) for number in range(6)]
        with ThreadPoolExecutor(3) as pool:
            for enlarged, tiles in zip(pool.map(upscaler, batches), batches, strict=True):
                self.assert_same(enlarged, upscaler(tiles))

    @few_examples
    @given(left=MARGINS, right=MARGINS, top=MARGINS, bottom=MARGINS)
    def test_a_tile_with_its_halo_gives_the_pixels_of_the_whole(
        self, upscaler: Upscaler, left: int, right: int, top: int, bottom: int
    ) -> None:
        """The core is the middle 7 x 5 px of an image that goes on for some px beyond the halo."""
        radius, scale = upscaler.info.receptive_field, upscaler.info.scale
        width, height = 7 + 2 * radius, 5 + 2 * radius
        left, top = (margin * upscaler.info.cell_px for margin in (left, top))
        image = make_noise(Size(left + width + right, top + height + bottom))
        tile = image[top : top + height, left : left + width]
        enlarged, whole = upscaler(tile[None]), upscaler(image[None])
        core = np.s_[:, radius * scale : (radius + 5) * scale, radius * scale : (radius + 7) * scale]
        self.assert_same(enlarged[core], whole[:, top * scale :, left * scale :][core])

    @few_examples
    @given(seed=st.integers(1, 99))
    def test_no_pixel_depends_on_one_beyond_the_receptive_field(self, upscaler: Upscaler, seed: int) -> None:
        radius, scale = upscaler.info.receptive_field, upscaler.info.scale
        size = Size(2 * radius + 11, 2 * radius + 9)
        image, other = make_noise(size), make_noise(size, seed)
        around = np.s_[2 : 2 * radius + 7, 3 : 2 * radius + 8]
        other[around] = image[around]
        core = np.s_[:, (2 + radius) * scale : (radius + 7) * scale, (3 + radius) * scale : (radius + 8) * scale]
        self.assert_same(upscaler(image[None])[core], upscaler(other[None])[core])

    def test_the_facts_go_together(self, upscaler: Upscaler) -> None:
        info = upscaler.info
        assert info.scale >= 1
        assert info.receptive_field >= 0
        for text in (info.name, info.hardware, str(info)):
            assert text
            assert "\n" not in text

    def test_the_facts_stay_the_same(self, upscaler: Upscaler) -> None:
        before = upscaler.info
        upscaler(make_tiles(1, 12, 10))
        assert upscaler.info == before
        assert hash(upscaler.info) == hash(before)
        with pytest.raises(FrozenInstanceError):
            before.scale = 3  # type: ignore[misc]

    def test_warnings_are_lines_and_none_is_said_twice(self, upscaler: Upscaler) -> None:
        for _ in range(2):
            upscaler(make_tiles(3, 40, 40))
        warnings = list(upscaler.warnings)
        assert len(set(warnings)) == len(warnings)
        assert all(line.strip() and "\n" not in line for line in warnings)
