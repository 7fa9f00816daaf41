"""The tile law: what a model shows does not depend on how the slide is cut. Before encoding, on real pixels.

At full size for the models that ship, with small random networks for every family.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.networks import GLOBAL, LOCAL, make_small_network
from tests.support.samples import InMemorySlide, upscale_pixels
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.models.backends.torch import TorchUpscaler
from wsisr.models.catalog import list_shipped_models
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Upscaler
from wsisr.slides import open_slide
from wsisr.slides.region import SlideRegion
from wsisr.upscaling.engine import enlarge_blocks
from wsisr.upscaling.plan import UpscaleOptions, plan_upscaling

REGION = Box(790, 1150, 790 + 320, 1150 + 208)
"""Tissue, where most seams of tiles lie, and glass; in px of level 0."""

SHIFT_X, SHIFT_Y = 38, 50
"""Multiples of the cells that some networks compute together."""


@pytest.fixture(scope="module")
def real(cmu_slide: Path) -> Rgb:
    with open_slide(cmu_slide) as slide:
        return slide.read(REGION, 0)


@pytest.fixture(scope="module", params=["bf16", "fp32"])
def precision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=list_shipped_models(), ids=lambda model: model.name)
def upscaler(request: pytest.FixtureRequest, precision: str) -> Upscaler:
    model = request.param
    return load_upscaler(model.path, scale=model.spec.scale, device="cpu", precision=precision)


@pytest.fixture(scope="module")
def reference(real: Rgb, upscaler: Upscaler) -> Rgb:
    return upscale_pixels(real, upscaler, UpscaleOptions(tile_px=512))


def largest_difference(one: Rgb, other: Rgb) -> int:
    return int(np.abs(one.astype(np.int16) - other).max())


def test_small_tiles_in_batches_show_what_large_tiles_one_by_one_show(
    real: Rgb, upscaler: Upscaler, reference: Rgb
) -> None:
    assert largest_difference(upscale_pixels(real, upscaler, UpscaleOptions(tile_px=128, batch=8)), reference) <= 1


def test_a_shifted_grid_shows_the_same(real: Rgb, upscaler: Upscaler, reference: Rgb) -> None:
    shifted = upscale_pixels(real[SHIFT_Y:, SHIFT_X:], upscaler, UpscaleOptions(tile_px=256))
    # Where the shifted picture's own border is out of sight.
    clear, scale = upscaler.info.receptive_field, upscaler.info.scale
    same = reference[(SHIFT_Y + clear) * scale :, (SHIFT_X + clear) * scale :]
    assert largest_difference(shifted[clear * scale :, clear * scale :], same) <= 1


def test_without_overlap_the_law_is_broken(real: Rgb, upscaler: Upscaler, reference: Rgb) -> None:
    cut = upscale_pixels(real, upscaler, UpscaleOptions(tile_px=256, overlap_px=0))
    assert largest_difference(cut, reference) > 1


def make_upscaler(family: str) -> Upscaler:
    return TorchUpscaler(family, make_small_network(family), torch.device("cpu"), "fp32")


def upscale_with_two_tilings(family: str, real: Rgb) -> tuple[Rgb, Rgb]:
    part = real[:200, :240]
    small, large = UpscaleOptions(tile_px=128, batch=4), UpscaleOptions(tile_px=512)
    return upscale_pixels(part, make_upscaler(family), small), upscale_pixels(part, make_upscaler(family), large)


@pytest.mark.parametrize("family", LOCAL)
def test_every_local_family_keeps_the_law(real: Rgb, family: str) -> None:
    assert largest_difference(*upscale_with_two_tilings(family, real)) <= 1
    assert make_upscaler(family).warnings == []


@pytest.mark.parametrize("family", ["half", "span"])
def test_a_region_at_an_odd_place_shows_what_the_whole_slide_shows(real: Rgb, family: str) -> None:
    slide, upscaler = InMemorySlide(real[:200, :240]), make_upscaler(family)
    whole = upscaler(slide.pixels[None])[0]
    region = SlideRegion(slide, 0).crop_to_area(Box(37, 51, 221, 180))
    result = np.zeros_like(whole)
    for box, block in enlarge_blocks(plan_upscaling(region, upscaler, UpscaleOptions(tile_px=128))):
        place = box.translate(37 * 2, 51 * 2)
        result[place.rows, place.columns] = block
    area = np.s_[51 * 2 : 180 * 2, 37 * 2 : 221 * 2]
    assert largest_difference(result[area], whole[area]) <= 1


@pytest.mark.parametrize("family", GLOBAL)
def test_a_global_one_does_not_and_says_so(real: Rgb, family: str) -> None:
    assert largest_difference(*upscale_with_two_tilings(family, real)) > 0
    assert "depends on how the slide is cut" in make_upscaler(family).warnings[0]
