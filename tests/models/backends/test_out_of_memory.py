"""Laws of working within memory: less at a time, the same pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models.contract import UpscalerContract, make_tiles
from wsisr.errors import DeviceError, ModelError, OutOfMemoryError
from wsisr.imaging.pixels import RgbBatch
from wsisr.models.backends.out_of_memory import MIN_PIECE_PX, MemoryBoundedUpscaler
from wsisr.models.upscaler import Resampling, Upscaler, UpscalerInfo


class SmallMemory:
    """Bicubic that has room for so many pixels of the input at a time."""

    info = UpscalerInfo("narrow", scale=2, receptive_field=3, hardware="on a small device")

    def __init__(self, room: int) -> None:
        self.room = room
        self.warnings: list[str] = []
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        self.shapes.append(tiles.shape)
        if tiles.size > 3 * self.room:
            raise OutOfMemoryError("out of memory")
        return Resampling("bicubic", self.info.scale)(tiles)


class TestMemoryBoundedUpscaler(UpscalerContract):
    @pytest.fixture(scope="class", params=[10**6, (MIN_PIECE_PX + 6) ** 2], ids=["with room", "in pieces"])
    @classmethod
    def upscaler(cls, request: pytest.FixtureRequest) -> Upscaler:
        return MemoryBoundedUpscaler(SmallMemory(request.param))


@given(st.integers(1, 5), st.integers(1, 200), st.integers(1, 200), st.integers((MIN_PIECE_PX + 6) ** 2, 50_000))
def test_the_pixels_are_those_of_a_device_with_room_for_all(count: int, width: int, height: int, room: int) -> None:
    tiles = make_tiles(count, width, height)
    np.testing.assert_array_equal(MemoryBoundedUpscaler(SmallMemory(room))(tiles), Resampling("bicubic", 2)(tiles))


def test_what_was_found_to_fit_is_not_searched_again() -> None:
    narrow = SmallMemory(2000)
    modest = MemoryBoundedUpscaler(narrow)
    modest(make_tiles(4, 100, 100))
    narrow.shapes.clear()
    modest(make_tiles(4, 100, 100))
    assert all(np.prod(shape) <= 3 * 2000 for shape in narrow.shapes)


def test_each_measure_is_said_once_and_before_pieces_come_smaller_batches() -> None:
    narrow = SmallMemory(2000)
    modest = MemoryBoundedUpscaler(narrow)
    for _ in range(2):
        modest(make_tiles(4, 100, 100))
    assert [shape[0] for shape in narrow.shapes[:3]] == [4, 2, 1]
    assert modest.warnings == [
        "not enough memory on a small device for 4 tiles of 100 x 100 px at once; "
        "fewer are taken, which changes no pixel",
        "not enough memory on a small device for a tile of 100 x 100 px; "
        "it is computed in overlapping pieces, which changes no pixel",
    ]


def test_with_room_for_all_nothing_is_cut_and_nothing_said() -> None:
    narrow = SmallMemory(10**6)
    modest = MemoryBoundedUpscaler(narrow)
    modest(make_tiles(4, 100, 100))
    assert (narrow.shapes, modest.warnings) == ([(4, 100, 100, 3)], [])


def test_where_nothing_fits_it_says_so() -> None:
    with pytest.raises(DeviceError, match=f"even in pieces of {MIN_PIECE_PX} px"):
        MemoryBoundedUpscaler(SmallMemory(10))(make_tiles(2, 100, 100))


def test_other_errors_pass() -> None:
    class Broken(SmallMemory):
        def __call__(self, tiles: RgbBatch) -> RgbBatch:
            raise ModelError(f"broken on {len(tiles)} tiles")

    with pytest.raises(ModelError, match="broken on 2"):
        MemoryBoundedUpscaler(Broken(1))(make_tiles(2, 10, 10))
