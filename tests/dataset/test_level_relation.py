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
def make_blobs(side: int, seed: int) -> Rgb:
    """Blobs of several sizes, (side, side, 3)."""
    layers = [
        cv2.GaussianBlur(make_noise(Size(side, side), seed + i).astype(np.float32), (0, 0), 4.0 * 2**i) for i in (0, 1)
    ]
    total = sum((layer - layer.mean()) / layer.std() for layer in layers)
    return np.asarray(np.clip(128 + 30 * np.asarray(total), 0, 255), np.uint8)


def make_fields(scale: int, shift: tuple[float, float], ratio: float = 1.0) -> list[FieldPair]:
    """Fields of a coarser level that is shifted by `shift` px of the finer level right and down."""
    truth = make_blobs(2048, 5)
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


def measure(scale: int, fields: list[FieldPair]) -> LevelRelation:
    return measure_relation((0, 1), scale, fields)


@settings(max_examples=6)
@given(scale=st.sampled_from([2, 4]), x=st.floats(-0.9, 0.9), y=st.floats(-0.9, 0.9))
def test_a_shift_is_found_to_a_fraction_of_a_pixel(scale: int, x: float, y: float) -> None:
    relation = measure(scale, make_fields(scale, (x, y)))
    assert relation.shift == pytest.approx((x, y), abs=0.05)
    assert relation.refused is None


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_levels_that_are_as_they_should_be_are_seen_so(scale: int) -> None:
    relation = measure(scale, make_fields(scale, (0, 0)))
    assert relation.shift == pytest.approx((0, 0), abs=0.03 * scale)
    assert relation.downsample == pytest.approx(scale, rel=1e-3)
    assert relation.closest == "area"
    assert relation.refused is None


@pytest.mark.parametrize("ratio", [0.997, 1.004])
def test_a_downsample_that_is_not_the_nominal_one_is_measured(ratio: float) -> None:
    assert measure(2, make_fields(2, (0, 0), ratio)).downsample == pytest.approx(2 * ratio, rel=5e-4)


def test_levels_that_lie_apart_are_refused() -> None:
    assert "lie 3 px apart" in str(measure(4, make_fields(4, (3.0, 0.0))).refused)


def test_levels_of_different_slides_are_refused() -> None:
    highs, others = make_fields(2, (0, 0)), [make_blobs(64, seed) for seed in range(9)]
    mixed = [FieldPair(each.box, each.high, other) for each, other in zip(highs, others, strict=True)]
    assert "show different things" in str(measure(2, mixed).refused)


@pytest.mark.parametrize("kernel", ["area", "bicubic", "lanczos"])
def test_the_kernel_that_made_a_level_is_told(kernel: str) -> None:
    highs = [each.high for each in make_fields(2, (0, 0))]
    rough = [shrink_image(make_noise(Size(512, 512), seed), 4, "area") for seed in range(len(highs))]
    relation = measure(2, [FieldPair(Box(0, 0, 128, 128), high, shrink_image(high, 2, kernel)) for high in rough])  # type: ignore[arg-type]
    assert relation.closest == kernel
    assert sum(relation.kernel_x) == pytest.approx(1, abs=0.08 if kernel == "lanczos" else 0.03)  # six scales wide
    assert len(relation.kernel_x) == len(relation.kernel_y) == 8
    if kernel == "area":
        assert relation.kernel_x == pytest.approx((0, 0, 0, 0.5, 0.5, 0, 0, 0), abs=0.03)
