"""Nuclei that are known are found, and agreement of two images is what it is called."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.nuclei import draw_disks, list_centres
from tests.support.samples import InMemorySlide
from wsisr.errors import ConfigError, SlideError
from wsisr.evaluation import (
    EvaluationInput,
    NucleiComparison,
    NucleiOptions,
    NucleiScores,
    Sampling,
    ScoreRow,
    evaluate_level,
)
from wsisr.evaluation.accumulators import TruthBlock
from wsisr.evaluation.blocks import find_score_boxes
from wsisr.evaluation.nuclei import HaematoxylinSegmenter
from wsisr.evaluation.nuclei_accumulator import NucleiAccumulator
from wsisr.evaluation.nuclei_matching import Nuclei, Points, match_points
from wsisr.evaluation.nuclei_scores import summarise_nuclei
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, average_blocks
from wsisr.models.upscaler import Resampling
from wsisr.slides import Slide

RADIUS_UM, STEP_UM = 3.5, 13.0


def draw_grid(side: int, mpp: float, shift_um: float = 0.0) -> tuple[Rgb, int]:
    """Return a square picture, and how many nuclei are in it."""
    centres = list_centres(side * mpp, STEP_UM)
    moved = [(x + shift_um, y) for x, y in centres]
    return draw_disks(Size(side, side), moved, RADIUS_UM, mpp), len(centres)


def fit_segmenter(image: Rgb, mpp: float) -> HaematoxylinSegmenter:
    return HaematoxylinSegmenter.from_parts([(image, Box(0, 0, image.shape[1], image.shape[0]))], mpp)


def compare_images(truth: Rgb, model: Rgb, bicubic: Rgb, mpp: float) -> NucleiComparison:
    """Compare whole images of sides that are a multiple of 2."""
    low = average_blocks(truth, 2)
    size = Size(low.shape[1], low.shape[0])
    (block,) = Sampling(512).choose_blocks(size, 2, halo_px=0)
    accumulator = NucleiAccumulator(fit_segmenter(truth, mpp), mpp, images=2)
    accumulator.add([model, bicubic], TruthBlock.from_images(low, truth, find_score_boxes(block, size, 2)), block)
    return accumulator.compare(0, 1)


def evaluate_nuclei(slide: Slide, options: NucleiOptions, block_px: int = 512) -> NucleiComparison | None:
    *_, row = evaluate_level(slide, Resampling("lanczos", 2), 0, EvaluationInput(), Sampling(block_px), options)
    assert isinstance(row, ScoreRow)
    return row.nuclei


@pytest.mark.parametrize("mpp", [0.25, 0.5, 1.0])
def test_planted_disks_are_counted_with_their_places_and_areas(mpp: float) -> None:
    side = round(80 / mpp)
    image, count = draw_grid(side, mpp)
    labels = fit_segmenter(image, mpp)(image, mpp)
    nuclei = Nuclei.from_labels(labels, Box(0, 0, side, side), (0, 0), mpp)
    assert len(nuclei) == count
    assert nuclei.areas == pytest.approx(np.pi * RADIUS_UM**2, rel=0.2)
    order = np.lexsort(nuclei.centroids.round(0).T)
    assert nuclei.centroids[order] == pytest.approx(np.array(list_centres(side * mpp, STEP_UM)), abs=0.2)


def test_touching_disks_are_two_nuclei_and_specks_are_none() -> None:
    touching = draw_disks(Size(120, 80), [(10, 10), (16.5, 10)], RADIUS_UM, 0.25)
    speck = draw_disks(Size(120, 80), [(10, 10)], 1.0, 0.25)
    segment = fit_segmenter(touching, 0.25)
    assert segment(touching, 0.25).max() == 2
    assert segment(speck, 0.25).max() == 0


def test_an_image_agrees_with_itself_and_not_with_one_that_is_moved_too_far() -> None:
    truth, count = draw_grid(320, 0.25)
    near, far = draw_grid(320, 0.25, shift_um=2)[0], draw_grid(320, 0.25, shift_um=4)[0]
    same = compare_images(truth, truth, near, 0.25)
    assert same.truth_count == count
    assert same.model == NucleiScores(count=count, count_error=0.0, f1=1.0, dice=1.0, area_error=0.0)
    assert (same.bicubic.f1, same.bicubic.count_error) == (1.0, 0.0)
    assert 0.3 < same.bicubic.dice < 0.8
    moved = compare_images(truth, far, truth, 0.25).model
    assert (moved.f1, moved.area_error) == (0.0, None)


def test_lost_nuclei_show_in_count_and_f1() -> None:
    truth, count = draw_grid(320, 0.25)
    half = truth.copy()
    half[:160] = truth[0, 0]
    found = compare_images(truth, half, truth, 0.25).model
    assert found.count == count / 2
    assert found.count_error == -0.5
    assert found.f1 == pytest.approx(2 / 3)


def test_glass_has_no_nuclei_and_agrees() -> None:
    white = np.full((128, 128, 3), 255, np.uint8)
    found = compare_images(white, white, white, 0.5)
    assert (found.truth_count, found.model.f1, found.model.dice, found.mean_area_um2) == (0, 1.0, 1.0, None)


def test_blocks_find_the_nuclei_of_the_whole_image() -> None:
    slide = InMemorySlide(draw_grid(300, 0.5)[0])
    small, whole = (evaluate_nuclei(slide, NucleiOptions(), px) for px in (64, 512))
    assert small is not None
    assert small == whole
    assert small.truth_count > 50


points = st.lists(st.tuples(*[st.integers(0, 40)] * 2), max_size=12).map(lambda rows: np.array(rows).reshape(-1, 2) / 4)


@settings(max_examples=60)
@given(points, points)
def test_pairs_are_one_to_one_near_and_leave_no_near_pair_over(ones: Points, others: Points) -> None:
    pairs = match_points(ones, others)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    distances = np.hypot(*(ones[:, None] - others[None]).T).T.reshape(len(ones), len(others))
    assert (distances[tuple(pairs.T)] <= 3).all()
    alone = np.ix_(*(np.setdiff1d(np.arange(side), pairs[:, axis]) for axis, side in enumerate(distances.shape)))
    assert (distances[alone] > 3).all()


def test_a_segmenter_of_the_users_sees_images_and_pixel_size() -> None:
    seen: list[tuple[tuple[int, ...], float]] = []

    def segment(image: Rgb, mpp: float) -> npt.NDArray[Any]:
        seen.append((image.shape, mpp))
        labels = np.zeros(image.shape[:2], np.int64)
        labels[40:50, 40:50] = 70_000
        return labels

    found = evaluate_nuclei(InMemorySlide(draw_grid(200, 0.5)[0]), NucleiOptions(segment))
    assert found is not None
    assert seen == [((200, 200, 3), 0.5)] * 3
    assert (found.truth_count, found.model.count, found.model.f1, found.mean_area_um2) == (1, 1, 1.0, 25.0)


@pytest.mark.parametrize("labels", [np.zeros((9, 9), np.int32), np.zeros((200, 200)), np.full((200, 200), -1)])
def test_a_segmenter_that_returns_no_labels_is_told_so(labels: npt.NDArray[Any]) -> None:
    slide = InMemorySlide(draw_grid(200, 0.5)[0])
    with pytest.raises(ConfigError, match="whole numbers of at least 0, one for each pixel"):
        evaluate_nuclei(slide, NucleiOptions(lambda _image, _mpp: labels))


def test_nuclei_need_a_pixel_size_that_is_fine_enough() -> None:
    image = draw_grid(128, 0.5)[0]
    assert evaluate_nuclei(InMemorySlide(image, mpp=2.0), NucleiOptions()) is None
    with pytest.raises(SlideError, match="pixel size is not recorded, and nuclei are measured in um"):
        evaluate_nuclei(InMemorySlide(image, mpp=None), NucleiOptions())


def test_the_summary_weighs_cases_and_tells_the_share_of_the_gap() -> None:
    scores = NucleiScores(count=8, count_error=-0.2, f1=0.5, dice=0.5, area_error=0.5)
    rows = [NucleiComparison(10, 20.0, replace(scores, f1=f1), scores) for f1 in (0.75, 0.25, 1.0)]
    found = summarise_nuclei([rows[:2], [], rows[2:]])
    assert found is not None
    assert (found.rows, found.cases, found.rows_below) == (3, 2, 1)
    assert (found.model_f1, found.bicubic_f1, found.gap_closed) == (0.75, 0.5, 0.5)
    assert found.model_count_error == 0.2
    assert summarise_nuclei([[], []]) is None
    none = replace(scores, count=0, f1=1.0)
    glass = NucleiComparison(0, None, none, none)
    assert summarise_nuclei([[*rows[:2], glass], [glass], rows[2:]]) == found
    assert summarise_nuclei([[glass]]) is None
