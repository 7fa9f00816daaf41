"""Laws of Fourier ring correlation: equal images correlate, noise does not, and a known cut is found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.samples import make_noise
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb
from wsisr.imaging.ring_correlation import (
    CORRELATION_THRESHOLD,
    RING_COUNT,
    RING_WINDOW_PX,
    RingAccumulator,
    RingCorrelation,
)

TRUTH = make_noise(Size(384, 256))


def correlate(*images: Rgb, truth: Rgb = TRUTH) -> list[RingCorrelation]:
    rings = RingAccumulator(len(images))
    rings.add(images, truth)
    found = rings.correlate()
    assert found is not None
    return found


def cut_off(image: Rgb, frequency: float) -> Rgb:
    """Remove all frequencies above one, in cycles per px."""
    down, across = (np.fft.fftfreq(side) for side in image.shape[:2])
    kept = np.hypot(down[:, None], across[None]) <= frequency
    planes = [np.fft.ifft2(np.fft.fft2(image[..., channel]) * kept).real for channel in range(3)]
    return np.stack(planes, axis=2).clip(0, 255).round().astype(np.uint8)


def test_an_equal_image_correlates_fully_up_to_the_nyquist_frequency() -> None:
    (found,) = correlate(TRUTH)
    assert found.values == pytest.approx([1.0] * RING_COUNT, abs=1e-6)
    assert found.cutoff == 0.5
    assert found.resolution_um(0.25) == 0.5


def test_contrast_and_brightness_do_not_count() -> None:
    (found,) = correlate(TRUTH // 2 + np.uint8(40))
    assert min(found.values) > 0.99


@settings(max_examples=5)
@given(st.integers(1, 1000))
def test_independent_noise_falls_below_the_threshold_at_once(seed: int) -> None:
    (found,) = correlate(make_noise(Size(384, 256), seed))
    assert np.abs(found.values[2:]).max() < CORRELATION_THRESHOLD
    assert found.cutoff <= 3 / RING_WINDOW_PX


@settings(max_examples=8)
@given(st.floats(0.08, 0.42))
def test_a_known_cut_is_found(frequency: float) -> None:
    (found,) = correlate(cut_off(TRUTH, frequency))
    assert found.cutoff == pytest.approx(frequency, abs=1.5 / RING_WINDOW_PX)
    assert found.resolution_um(0.5) == pytest.approx(0.5 / frequency, rel=0.15)


def test_windows_add_up_however_they_are_cut() -> None:
    blurred = cut_off(TRUTH, 0.2)
    rings = RingAccumulator(1)
    for left in range(0, 384, RING_WINDOW_PX):
        columns = np.s_[:, left : left + RING_WINDOW_PX]
        rings.add([blurred[columns]], TRUTH[columns])
    found = rings.correlate()
    assert found is not None
    assert found[0].values == pytest.approx(correlate(blurred)[0].values, abs=1e-6)


def test_an_image_without_a_whole_window_or_without_contrast_has_no_correlation() -> None:
    rings = RingAccumulator(1)
    for truth in (TRUTH[:100], np.full((200, 200, 3), 80, np.uint8)):
        rings.add([truth], truth)
        assert rings.correlate() is None
    rings.add([np.full_like(TRUTH, 7)], TRUTH)
    found = rings.correlate()
    assert found is not None
    assert set(found[0].values) == {0.0}
