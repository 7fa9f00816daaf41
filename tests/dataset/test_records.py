"""Records of pairs: the class of a pixel size."""

from __future__ import annotations

from wsisr.dataset.records import MAGNIFICATIONS, nearest_magnification


def test_a_magnification_is_that_of_its_pixel_size() -> None:
    assert [nearest_magnification(10 / each) for each in MAGNIFICATIONS] == list(MAGNIFICATIONS)
    assert [nearest_magnification(mpp) for mpp in (0.2525, 0.34, 0.36, 2.7, 2.9, 0.17)] == [40, 40, 20, 5, None, None]
