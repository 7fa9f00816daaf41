"""The guard leaves what agrees with the input as it is, and shows bicubic where it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.contract import UpscalerContract
from tests.support.samples import make_noise, upscale_pixels
from wsisr.imaging.bicubic import enlarge_bicubic
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, RgbBatch
from wsisr.models.guard import GuardedUpscaler, find_refused_shares, measure_contradiction
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Resampling, Upscaler, UpscalerInfo
from wsisr.slides import open_slide
from wsisr.upscaling.plan import UpscaleOptions


class Distorting:
    """Bicubic of a wrong picture: contrast and level are changed before it is enlarged."""

    def __init__(self, contrast: float = 1.0, shift: float = 0.0, scale: int = 2) -> None:
        self.contrast, self.shift = contrast, shift
        self.info = UpscalerInfo("distorting", scale, 2, "nowhere")
        self.warnings: tuple[str, ...] = ()

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        changed = (tiles.astype(np.float64) - 200) * self.contrast + 200 + self.shift
        return Resampling("bicubic", self.info.scale)(np.rint(changed).clip(0, 255).astype(np.uint8))


class TestGuardedUpscaler(UpscalerContract):
    tolerance = 1  # sums of the box filter run along a row, so their last bits depend on where it begins

    @pytest.fixture(
        scope="class", params=[Distorting(0.2), Distorting(1, 20, 4), Distorting()], ids=["flat", "off", "true"]
    )
    @classmethod
    def upscaler(cls, request: pytest.FixtureRequest) -> Upscaler:
        return GuardedUpscaler(request.param)


@pytest.fixture(scope="module")
def tissue(cmu_slide: Path) -> Rgb:
    with open_slide(cmu_slide) as slide:
        return slide.read(Box(820, 1100, 820 + 128, 1100 + 112), 0)


def fade(pixels: Rgb, density: float) -> Rgb:
    return np.rint(255 * (pixels.clip(1) / 255) ** density).astype(np.uint8)


@pytest.mark.parametrize("density", [1, 0.3, 0.15])
@pytest.mark.parametrize("contrast", [0.0, 0.3])
def test_what_drops_the_structure_of_tissue_becomes_bicubic(tissue: Rgb, density: float, contrast: float) -> None:
    low = fade(tissue, density)
    guarded = GuardedUpscaler(Distorting(contrast))
    bicubic = enlarge_bicubic(low, 2)
    error = np.abs(guarded(low[None])[0].astype(int) - bicubic)
    assert error.mean() < 0.1 * np.abs(Distorting(contrast)(low[None])[0].astype(int) - bicubic).mean()
    assert "contradicts the slide in places" in guarded.warnings[0]


def test_a_colour_that_is_shifted_becomes_bicubic(tissue: Rgb) -> None:
    low = fade(tissue, 0.3)
    guarded = GuardedUpscaler(Distorting(shift=-12))(low[None])[0]
    assert np.abs(guarded.astype(int) - enlarge_bicubic(low, 2)).mean() < 0.5


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), span=st.integers(0, 20))
def test_detail_that_the_input_cannot_tell_is_left_as_it_is(tissue: Rgb, seed: int, span: int) -> None:
    """Whatever is added to the four pixels of an input pixel so that their sum stays the same."""
    low = tissue // 2 + np.uint8(64)  # so that nothing is clipped
    added = np.random.default_rng(seed).integers(-span, span + 1, low.shape)
    pattern = np.stack([added, -added], axis=1).reshape(-1, *low.shape[1:]).repeat(2, axis=1)
    bicubic = enlarge_bicubic(low, 2)
    shares, plain = (
        find_refused_shares(measure_contradiction(low, enlarged.astype(np.uint8)))
        for enlarged in (bicubic + pattern, bicubic)
    )
    np.testing.assert_allclose(shares, plain, atol=0.1)


@pytest.mark.parametrize("model_scale", [2, 4])
def test_a_shipped_default_is_hardly_touched_on_the_tissue_it_knows(tissue: Rgb, model_scale: int) -> None:
    upscaler = load_upscaler(scale=model_scale, device="cpu", mpp=0.5)
    shares = find_refused_shares(measure_contradiction(tissue, upscaler(tissue[None])[0]))
    assert shares.mean() < 0.08
    guarded = GuardedUpscaler(upscaler)
    guarded(tissue[None])
    assert guarded.warnings == []


def test_grain_on_glass_may_be_taken_off() -> None:
    grain = (make_noise(Size(90, 80)) % 5 + 240).astype(np.uint8)
    smooth = np.full((1, 160, 180, 3), 242, np.uint8)
    assert find_refused_shares(measure_contradiction(grain, smooth[0])).mean() < 0.05


def test_tiles_do_not_show(tissue: Rgb) -> None:
    pixels, upscaler = np.tile(fade(tissue, 0.3), (2, 3, 1)), GuardedUpscaler(Distorting(0.6))
    whole = upscaler(pixels[None])[0].astype(int)
    assert np.abs(upscale_pixels(pixels, upscaler, UpscaleOptions(tile_px=128, batch=2)) - whole).max() <= 1


def test_a_warning_never_moves_one_that_was_shown_before(tissue: Rgb) -> None:
    flat = Distorting(0.0)
    guarded = GuardedUpscaler(flat)
    warnings = guarded.warnings
    guarded(tissue[None])
    first = list(warnings)
    flat.warnings = ("of the network",)
    guarded(tissue[None])
    assert len(first) == 1
    assert warnings == [*first, "of the network"]
