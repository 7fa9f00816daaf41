"""TIFF's Orientation: the picture is shown as it is meant to be, and a word says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.slides.contract import SlideContract, SlideSample
from tests.support.samples import InMemorySlide, make_noise, make_noise_levels, write_generic_pyramid, write_ome_pyramid
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import open_slide
from wsisr.slides.wrappers.orientation import TurnedSlide

LEVELS = make_noise_levels(Size(220, 180), Size(110, 90))


def tag(orientation: int) -> dict[str, Any]:
    return {"extratags": [(274, "H", 1, orientation, True)]}


def turn(pixels: Rgb, orientation: int) -> Rgb:
    """Turn a picture as TIFF 6.0 words it: which visual side row 0 and column 0 of the stored one are."""
    turned = {
        1: pixels,
        2: np.fliplr(pixels),
        3: np.rot90(pixels, 2),
        4: np.flipud(pixels),
        5: np.fliplr(np.rot90(pixels, -1)),
        6: np.rot90(pixels, -1),
        7: np.fliplr(np.rot90(pixels, 1)),
        8: np.rot90(pixels, 1),
    }
    return turned[orientation]


class TestTurnedSlide(SlideContract):
    @pytest.fixture(scope="class", params=range(1, 9))
    @classmethod
    def sample(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SlideSample:
        path = write_generic_pyramid(tmp_path_factory.mktemp("turned") / "a.tif", LEVELS, **tag(request.param))
        return SlideSample(lambda: open_slide(path), [turn(pixels, request.param) for pixels in LEVELS])


@pytest.mark.parametrize("write", [write_generic_pyramid, write_ome_pyramid])
@pytest.mark.parametrize("orientation", [1, 6, 9])
def test_a_turned_picture_is_named_as_such(tmp_path: Path, write: Any, orientation: int) -> None:
    with open_slide(write(tmp_path / "a.tif", LEVELS, **tag(orientation))) as slide:
        assert sum("Orientation tag (6)" in text for text in slide.info.warnings) == (orientation == 6)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_scanned_bounds_turn_with_the_picture(orientation: int) -> None:
    pixels, bounds = make_noise(Size(40, 30)), Box(3, 5, 20, 12)
    slide = InMemorySlide(pixels)
    slide._info = replace(slide.info, bounds=bounds, pixel_aspect=(1.0, 2.0))
    info = TurnedSlide(slide, orientation).info
    assert info.bounds is not None
    shown = turn(pixels, orientation)[info.bounds.rows, info.bounds.columns]
    np.testing.assert_array_equal(shown, turn(pixels[bounds.rows, bounds.columns], orientation))
    assert info.pixel_aspect == ((2.0, 1.0) if orientation > 4 else (1.0, 2.0))
