"""Verdicts of a run's figures: all is well, or where to look."""

from __future__ import annotations

import pytest

from wsisr.cli.verdicts import judge_consistency, judge_seams, list_doubts
from wsisr.upscaling.report import ConsistencyFigures, QualityFigures, SeamFigures

FAITHFUL = ConsistencyFigures(mean=2.9, percentile_99_9=16, worst=3.8, worst_at=(0, 0))


@pytest.mark.parametrize(
    ("mean", "worst", "is_good"),
    [(0.91, 1.28, True), (1.08, 2.03, True), (1.46, 2.04, False), (1.0, 3.0, False)],
)
def test_seams_are_none_or_a_place_to_look_at(mean: float, worst: float, is_good: bool) -> None:
    verdict = judge_seams(SeamFigures(100, mean, worst, (512, 1024)))
    assert verdict.is_good == is_good
    assert ("look at 512, 1024 in the output" in verdict.text) != is_good


def test_a_result_of_one_tile_has_no_seam() -> None:
    assert judge_seams(None).is_good


@pytest.mark.parametrize(
    ("mean", "worst", "is_good"), [(2.9, 3.8, True), (17, 18, True), (0.1, 3, True), (1, 30, False), (30, 31, False)]
)
def test_a_result_is_true_to_its_input_or_there_is_a_place_to_look_at(mean: float, worst: float, is_good: bool) -> None:
    verdict = judge_consistency(ConsistencyFigures(mean, 20, worst, (512, 1024)))
    assert verdict.is_good == is_good
    assert ("look at 512, 1024 in the output" in verdict.text) != is_good


def test_without_a_summary_only_doubts_are_told() -> None:
    seams = SeamFigures(100, 1.46, 2.04, (512, 1024))
    assert list(list_doubts(QualityFigures(1.0, None, FAITHFUL))) == []
    (doubt,) = list_doubts(QualityFigures(1.0, seams, FAITHFUL))
    assert doubt.startswith("seams: perhaps between tiles")
