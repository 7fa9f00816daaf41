"""Back-projection agrees with its input better than bicubic does, and is exact over tiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models.contract import UpscalerContract
from tests.support.samples import make_noise
from wsisr.evaluation import BackProjection
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb, shrink_image
from wsisr.models.upscaler import Resampling, Upscaler


class TestBackProjection(UpscalerContract):
    @pytest.fixture(scope="class", params=[(2, 3), (4, 3), (4, 1)], ids=str)
    @classmethod
    def upscaler(cls, request: pytest.FixtureRequest) -> Upscaler:
        return BackProjection(*request.param)


def measure_error(high: Rgb, low: Rgb, scale: int) -> float:
    return float(np.abs(shrink_image(high, scale, "area").astype(float) - low).mean())


@pytest.mark.parametrize("scale", [2, 4])
def test_back_projection_reduces_the_consistency_error_with_every_iteration(scale: int) -> None:
    low = make_noise(Size(40, 31)) // 2 + np.uint8(64)
    errors = [measure_error(BackProjection(scale, n)(low[None])[0], low, scale) for n in range(4)]
    assert errors == sorted(errors, reverse=True)
    assert errors[3] < errors[0] / 2


@given(st.sampled_from([2, 3, 4]), st.integers(0, 255))
def test_a_constant_stays_constant(scale: int, grey: int) -> None:
    low = np.full((1, 12, 9, 3), grey, np.uint8)
    assert (BackProjection(scale)(low) == grey).all()


def test_without_iterations_it_is_bicubic_but_for_rounding() -> None:
    # Pillow's bicubic on bytes clips between its two passes, so no value may overshoot.
    low = (100 + make_noise(Size(21, 17)) % 50)[None].astype(np.uint8)
    difference = BackProjection(4, 0)(low).astype(int) - Resampling("bicubic", 4)(low)
    assert np.abs(difference).max() <= 1
