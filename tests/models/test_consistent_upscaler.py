"""A consistent result averages back to its input, whatever enlarged it and however it was cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.contract import UpscalerContract
from tests.support.samples import make_noise, upscale_pixels
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb, RgbBatch
from wsisr.models import back_projection
from wsisr.models.back_projection import BACK_PROJECTION_ITERATIONS, ConsistentUpscaler, back_project_image
from wsisr.models.upscaler import Resampling, Upscaler, UpscalerInfo
from wsisr.upscaling.consistency import count_consistency_errors
from wsisr.upscaling.plan import UpscaleOptions


class Repeat:
    """Every pixel four times in both directions, darker by some grey levels; averages back but for them."""

    info = UpscalerInfo("repeat", scale=4, receptive_field=0, hardware="nowhere")
    warnings: tuple[str, ...] = ()

    def __init__(self, darker: int = 0) -> None:
        self.darker = np.uint8(darker)

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        return tiles.repeat(4, axis=1).repeat(4, axis=2) - self.darker


class TestConsistentUpscaler(UpscalerContract):
    @pytest.fixture(
        scope="class",
        params=[Repeat(20), Resampling("bicubic", 2), Resampling("lanczos", 4)],
        ids=["repeat", "bicubic", "lanczos"],
    )
    @classmethod
    def upscaler(cls, request: pytest.FixtureRequest) -> Upscaler:
        return ConsistentUpscaler(request.param)


def make_muted_noise(size: Size) -> Rgb:
    """Noise that leaves room above and below: what has to be clipped cannot agree."""
    return (make_noise(size) // 4 + 96).astype(np.uint8)


def measure_consistency_error(low: Rgb, upscaler: Upscaler) -> float:
    counts = count_consistency_errors(low, upscaler(low[None])[0], np.ones(low.shape[:2], bool))
    return float(np.arange(256) @ counts / counts.sum())


@pytest.mark.parametrize("scale", [2, 4])
def test_what_bicubic_makes_of_noise_averages_back_to_it(scale: int) -> None:
    low, bicubic = make_muted_noise(Size(70, 50)), Resampling("bicubic", scale)
    assert measure_consistency_error(low, bicubic) > 3
    assert measure_consistency_error(low, ConsistentUpscaler(bicubic)) < 1


def test_what_darkens_all_is_put_right() -> None:
    low = make_muted_noise(Size(40, 30))
    assert measure_consistency_error(low, Repeat(20)) == 20
    assert measure_consistency_error(low, ConsistentUpscaler(Repeat(20))) == 0


@given(st.integers(1, 40), st.integers(1, 40))
def test_what_agrees_already_stays_as_it_is(width: int, height: int) -> None:
    tiles = make_noise(Size(width, height))[None]
    np.testing.assert_array_equal(ConsistentUpscaler(Repeat())(tiles), Repeat()(tiles))


@settings(max_examples=25)
@given(st.integers(1, 300), st.integers(1, 200), st.integers(1, 3), st.sampled_from([2, 4]))
def test_the_result_does_not_depend_on_the_cutting(width: int, height: int, batch: int, scale: int) -> None:
    pixels, upscaler = make_noise(Size(width, height)), ConsistentUpscaler(Resampling("bicubic", scale))
    whole = back_project_image(pixels, Resampling("bicubic", scale)(pixels[None])[0], BACK_PROJECTION_ITERATIONS)
    np.testing.assert_array_equal(upscale_pixels(pixels, upscaler, UpscaleOptions(tile_px=128, batch=batch)), whole)


def test_nor_on_the_pieces_that_threads_work_on(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles, upscaler = make_noise(Size(90, 70))[None], ConsistentUpscaler(Resampling("bicubic", 4))
    whole = upscaler(tiles)
    monkeypatch.setattr(back_projection, "PIECE_PX", 16)
    np.testing.assert_array_equal(upscaler(tiles), whole)


def test_a_context_one_px_smaller_would_break_the_law() -> None:
    class Nearsighted(ConsistentUpscaler):
        @property
        def info(self) -> UpscalerInfo:
            info = super().info
            too_small = info.receptive_field - 1 - Resampling("bicubic", 4).info.receptive_field
            return replace(info, receptive_field=too_small)

    pixels, upscaler = make_noise(Size(300, 200)), Nearsighted(Resampling("bicubic", 4))
    whole = upscaler(pixels[None])[0]
    assert (upscale_pixels(pixels, upscaler, UpscaleOptions(tile_px=64)) != whole).any()


def test_it_is_told_from_what_it_corrects_by_its_name_alone() -> None:
    plain = Resampling("bicubic", 2)
    corrected = ConsistentUpscaler(plain)
    assert (corrected.info.scale, corrected.info.weights, corrected.info.hardware) == (2, None, plain.info.hardware)
    assert corrected.info.name == "bicubic + back-projection"
