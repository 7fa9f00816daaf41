"""Measures of a patch: focus does not depend on stain, similar patches have similar fingerprints."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.support.samples import make_noise
from wsisr.dataset.patch_quality import compute_fingerprint, measure_focus
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import shrink_image


@pytest.mark.parametrize("gain", [0.3, 0.6, 1.0])
def test_focus_does_not_depend_on_stain(gain: float) -> None:
    patch = shrink_image(make_noise(Size(256, 256)), 2, "area")
    paler = np.asarray(np.round(255 - gain * (255 - patch.astype(float))), np.uint8)
    assert measure_focus(paler) == pytest.approx(measure_focus(patch), rel=0.1)


def test_patches_that_look_alike_have_fingerprints_alike() -> None:
    patch = shrink_image(make_noise(Size(192, 192)), 2, "area")
    patch = np.asarray(cv2.GaussianBlur(patch, (0, 0), 8))
    brighter = np.asarray(np.minimum(patch.astype(int) + 9, 255), np.uint8)
    bits = [int(compute_fingerprint(each), 16) for each in (patch, brighter, patch[::-1])]
    assert (bits[0] ^ bits[1]).bit_count() <= 4
    assert (bits[0] ^ bits[2]).bit_count() > 16
