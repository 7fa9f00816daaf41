"""The tile law: what a shipped model shows does not depend on how the slide is cut. Before encoding, on real pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.samples import enlarged
from wsisr.geometry import Box
from wsisr.models.catalog import shipped
from wsisr.pixels import Rgb
from wsisr.runtime import load_upscaler
from wsisr.slides import open_slide
from wsisr.upscaler import Upscaler
from wsisr.upscaling import Options

REGION = Box(330, 1000, 330 + 1536, 1000 + 520)
"""Tissue and glass; in px of level 0."""

SHIFT_X, SHIFT_Y = 37, 51


@pytest.fixture(scope="module")
def real(cmu_slide: Path) -> Rgb:
    with open_slide(cmu_slide) as slide:
        return slide.read(REGION, 0)


@pytest.fixture(scope="module", params=["bf16", "fp32"])
def precision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=shipped(), ids=lambda model: model.name)
def upscaler(request: pytest.FixtureRequest, precision: str) -> Upscaler:
    model = request.param
    return load_upscaler(model.path, scale=model.spec.scale, device="cpu", precision=precision)


@pytest.fixture(scope="module")
def reference(real: Rgb, upscaler: Upscaler) -> Rgb:
    return enlarged(real, upscaler, Options(tile_px=512))


def largest_difference(one: Rgb, other: Rgb) -> int:
    return int(np.abs(one.astype(np.int16) - other).max())


def test_small_tiles_in_batches_show_what_large_tiles_one_by_one_show(
    real: Rgb, upscaler: Upscaler, reference: Rgb
) -> None:
    assert largest_difference(enlarged(real, upscaler, Options(tile_px=128, batch=8)), reference) <= 1


def test_a_shifted_grid_shows_the_same(real: Rgb, upscaler: Upscaler, reference: Rgb) -> None:
    shifted = enlarged(real[SHIFT_Y:, SHIFT_X:], upscaler, Options(tile_px=256))
    # Where the shifted picture's own border is out of sight.
    clear, scale = upscaler.context, upscaler.scale
    same = reference[(SHIFT_Y + clear) * scale :, (SHIFT_X + clear) * scale :]
    assert largest_difference(shifted[clear * scale :, clear * scale :], same) <= 1


def test_without_overlap_the_law_is_broken(real: Rgb, upscaler: Upscaler, reference: Rgb) -> None:
    part = real[:, :768]
    cut = enlarged(part, upscaler, Options(tile_px=256, overlap_px=0))
    width = (part.shape[1] - upscaler.context) * upscaler.scale
    assert largest_difference(cut[:, :width], reference[:, :width]) > 1
