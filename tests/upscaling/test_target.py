"""Laws of the way to an exact pixel pitch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import InMemorySlide, make_noise
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Size
from wsisr.upscaling.target import LARGEST_INTERPOLATION, plan_scale

PIXELS = make_noise(Size(60, 40))


@given(st.floats(0.1, 2.0), st.floats(0.1, 2.0))
def test_whatever_the_slide_the_result_has_the_target_pitch(pitch: float, target: float) -> None:
    if pitch > 4 * LARGEST_INTERPOLATION * target:
        with pytest.raises(SlideError, match="coarser target"):
            plan_scale(InMemorySlide(PIXELS, pitch), target)
        return
    route = plan_scale(InMemorySlide(PIXELS, pitch), target)
    assert route.region.mpp is not None
    assert route.region.mpp / route.scale == pytest.approx(target, rel=0.0101)
    assert route.region.resampling_factor == 1 or route.region.mpp / route.scale == pytest.approx(target, rel=1e-12)


@pytest.mark.parametrize(
    ("pitch", "scale", "factor", "said"),
    [
        (0.25, 1, 1.0, "no network: the slide has the target's pixel pitch"),
        (0.2, 1, 1.25, "no network: shrunk by area mean from 0.2 to 0.25 um/px"),
        (0.3, 1, 0.25 / 0.3, "no network: interpolated by bicubic from 0.3 to 0.25 um/px"),
        (0.4, 2, 1.25, "shrunk by area mean from 0.4 to 0.5 um/px before the network"),
        (0.5, 2, 1.0, None),
        (0.55, 2, 0.5 / 0.55, "interpolated by bicubic from 0.55 to 0.5 um/px before the network"),
        (1.0, 4, 1.0, None),
    ],
)
def test_no_way_costs_more_than_it_must_and_each_says_what(
    pitch: float, scale: int, factor: float, said: str | None
) -> None:
    route = plan_scale(InMemorySlide(PIXELS, pitch), 0.25)
    assert route.scale == scale
    assert route.region.resampling_factor == pytest.approx(factor)
    if said is None:
        assert route.region.selection_warnings == ()
    else:
        assert said in route.region.selection_warnings[0]


def test_pitches_within_one_percent_are_the_same() -> None:
    assert {
        plan_scale(InMemorySlide(PIXELS, pitch), 0.25).region.resampling_factor for pitch in (0.248, 0.252, 0.499)
    } == {1.0}


@pytest.mark.parametrize("target", [0.0, -1.0, float("nan"), 100.0])
def test_a_target_that_cannot_be_is_refused(target: float) -> None:
    with pytest.raises(SlideError, match="choose a target"):
        plan_scale(InMemorySlide(PIXELS, 0.5), target)
