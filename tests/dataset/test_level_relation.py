"""The relation of two levels, against truth that shares no pixel grid with either."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.samples import make_noise
from wsisr.dataset.level_relation import FieldPair, LevelRelation, measure_relation
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, shrink_image

FINER = 4
"""Pixels of the truth for one of the finer level."""


@cache
def scene(side: int, seed: int) -> Rgb:
    """Blobs of several sizes, (side, side, 3)."""
    layers = [
        cv2.GaussianBlur(make_noise(Size(side, side), seed + i).astype(np.float32), (0, 0), 4.0 * 2**i) for i in (0, 1)
    ]
    total = sum((layer - layer.mean()) / layer.std() for layer in layers)
    return np.asarray(np.clip(128 + 30 * np.asarray(total), 0, 255), np.uint8)


def fields(scale: int, shift: tuple[float, float], ratio: float = 1.0) -> list[FieldPair]:
    """A coarser level that shows everything `shift` px of the finer level too far right and down."""
    truth = scene(2048, 5)
    matrix = np.array([[1 / ratio, 0, shift[0] * FINER], [0, 1 / ratio, shift[1] * FINER]])
    moved = np.asarray(cv2.warpAffine(truth, matrix, (2048, 2048), flags=cv2.INTER_LINEAR), np.uint8)
    fine, coarse = shrink_image(truth, FINER, "area"), shrink_image(moved, FINER * scale, "area")
    boxes = [Box(left, top, left + 128, top + 128) for top in (64, 192, 320) for left in (64, 192, 320)]
    return [
        FieldPair(
            box,
            fine[box.rows, box.columns],
            coarse[box.top // scale :, box.left // scale :][: 128 // scale, : 128 // scale],
        )
        for box in boxes
    ]


def of(scale: int, found: list[FieldPair]) -> LevelRelation:
    return measure_relation((0, 1), scale, found)


@settings(max_examples=6)
@given(scale=st.sampled_from([2, 4]), x=st.floats(-0.9, 0.9), y=st.floats(-0.9, 0.9))
def test_a_shift_is_found_to_a_fraction_of_a_pixel(scale: int, x: float, y: float) -> None:
    found = of(scale, fields(scale, (x, y)))
    assert found.shift == pytest.approx((x, y), abs=0.05)
    assert found.refused is None


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_levels_that_are_as_they_should_be_are_seen_so(scale: int) -> None:
    found = of(scale, fields(scale, (0, 0)))
    assert found.shift == pytest.approx((0, 0), abs=0.03 * scale)
    assert found.downsample == pytest.approx(scale, rel=1e-3)
    assert found.closest == "area"
    assert found.refused is None


@pytest.mark.parametrize("ratio", [0.997, 1.004])
def test_a_downsample_that_is_not_the_nominal_one_is_measured(ratio: float) -> None:
    assert of(2, fields(2, (0, 0), ratio)).downsample == pytest.approx(2 * ratio, rel=5e-4)


def test_levels_that_lie_apart_are_refused() -> None:
    assert "lie 3 px apart" in str(of(4, fields(4, (3.0, 0.0))).refused)


def test_levels_of_different_slides_are_refused() -> None:
    highs, others = fields(2, (0, 0)), [scene(64, seed) for seed in range(9)]
    mixed = [FieldPair(each.box, each.high, other) for each, other in zip(highs, others, strict=True)]
    assert "show different things" in str(of(2, mixed).refused)


@pytest.mark.parametrize("kernel", ["area", "bicubic", "lanczos"])
def test_the_kernel_that_made_a_level_is_told(kernel: str) -> None:
    highs = [each.high for each in fields(2, (0, 0))]
    rough = [shrink_image(make_noise(Size(512, 512), seed), 4, "area") for seed in range(len(highs))]
    found = of(2, [FieldPair(Box(0, 0, 128, 128), high, shrink_image(high, 2, kernel)) for high in rough])  # type: ignore[arg-type]
    assert found.closest == kernel
    assert sum(found.kernel_x) == pytest.approx(1, abs=0.08 if kernel == "lanczos" else 0.03)  # six scales wide
    assert len(found.kernel_x) == len(found.kernel_y) == 8
    if kernel == "area":
        assert found.kernel_x == pytest.approx((0, 0, 0, 0.5, 0.5, 0, 0, 0), abs=0.03)
