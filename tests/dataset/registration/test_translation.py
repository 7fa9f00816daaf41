"""Laws of the sub-pixel translation, on area means whose true shift is known to a fraction of their pixels."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.captures import make_tissue
from wsisr.dataset.patch_quality import GreyImage, to_grey
from wsisr.dataset.registration.translation import register_translation
from wsisr.imaging.pixels import Rgb, shrink_image

SCALE = 4
SIDE_PX = 256


@pytest.fixture(scope="module")
def tissue() -> Rgb:
    return make_tissue(21, SIDE_PX + 64)


def shrink_at(tissue: Rgb, x: int, y: int) -> GreyImage:
    """The area mean by `SCALE` of a field whose corner is 32 px plus x, y from that of the tissue."""
    field = tissue[32 + y : 32 + y + SIDE_PX, 32 + x : 32 + x + SIDE_PX]
    return to_grey(shrink_image(np.ascontiguousarray(field), SCALE, "area"))


@pytest.mark.parametrize(("x", "y"), [(0, 0), (1, 0), (0, -2), (3, 2), (-6, 5)])
def test_a_known_shift_is_found_to_a_twentieth_of_a_pixel(tissue: Rgb, x: int, y: int) -> None:
    found = register_translation(shrink_at(tissue, 0, 0), shrink_at(tissue, -x, -y))
    assert (found.dx, found.dy) == pytest.approx((x / SCALE, y / SCALE), abs=0.05)
    assert found.correlation > 0.95


def test_exchanged_images_have_the_opposite_shift(tissue: Rgb) -> None:
    first, second = shrink_at(tissue, 0, 0), shrink_at(tissue, 3, -1)
    there, back = register_translation(first, second), register_translation(second, first)
    assert (there.dx, there.dy) == pytest.approx((-back.dx, -back.dy), abs=0.05)


def test_brightness_and_contrast_change_no_shift(tissue: Rgb) -> None:
    source, target = shrink_at(tissue, 0, 0), shrink_at(tissue, 2, 1)
    plain = register_translation(source, target)
    changed = register_translation(source, np.asarray(30 + 0.6 * target, np.float32))
    assert (changed.dx, changed.dy) == pytest.approx((plain.dx, plain.dy), abs=0.01)
    assert changed.correlation == pytest.approx(plain.correlation, abs=1e-3)


def test_an_image_lies_on_itself(tissue: Rgb) -> None:
    image = shrink_at(tissue, 0, 0)
    found = register_translation(image, image)
    assert (found.dx, found.dy, found.correlation) == pytest.approx((0, 0, 1), abs=1e-3)


def test_images_of_different_tissue_do_not_correlate(tissue: Rgb) -> None:
    found = register_translation(shrink_at(tissue, 0, 0), shrink_at(make_tissue(22, SIDE_PX + 64), 0, 0))
    assert found.correlation < 0.5
