"""Upscalers without weights: they keep the laws of every upscaler."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from tests.models.contract import UpscalerContract, make_tiles
from wsisr.imaging.pixels import PillowFilter, enlarge_image
from wsisr.models.upscaler import Resampling, Unchanged, Upscaler


class TestResampling(UpscalerContract):
    @pytest.fixture(scope="class", params=[("bicubic", 2), ("bicubic", 4), ("lanczos", 2), ("lanczos", 4)], ids=str)
    @classmethod
    def upscaler(cls, request: pytest.FixtureRequest) -> Upscaler:
        name, scale = cast("tuple[PillowFilter, int]", request.param)
        return Resampling(name, scale)

    def test_the_pixels_are_pillows(self, upscaler: Upscaler) -> None:
        tiles, info = make_tiles(2, 23, 17), upscaler.info
        expected = [enlarge_image(tile, info.scale, cast("PillowFilter", info.name)) for tile in tiles]
        np.testing.assert_array_equal(upscaler(tiles), np.stack(expected))


class TestUnchanged(UpscalerContract):
    @pytest.fixture(scope="class")
    @classmethod
    def upscaler(cls) -> Upscaler:
        return Unchanged()

    def test_the_pixels_stay_as_they_are(self, upscaler: Upscaler) -> None:
        np.testing.assert_array_equal(upscaler(make_tiles(2, 23, 17)), make_tiles(2, 23, 17))
