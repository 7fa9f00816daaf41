"""Two upscalers on the same tissue: what is said of one is what is measured of it alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.pairs import write_blank_slide, write_slide
from wsisr.errors import SlideError
from wsisr.evaluation import AS_STORED, ScoreRow, evaluate_level
from wsisr.evaluation.comparison import GainPair, LevelComparison, compare_level, summarise_comparisons
from wsisr.imaging.geometry import Size
from wsisr.models.back_projection import BackProjection
from wsisr.models.upscaler import Resampling, Upscaler
from wsisr.slides import open_slide
from wsisr.tissue import find_tissue, make_full_map

BICUBIC, LANCZOS = Resampling("bicubic", 2), Resampling("lanczos", 2)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough for two regions."""
    return write_slide(tmp_path_factory.mktemp("slides") / "a_1.ome.tif", Size(768, 512), ())


def compare(path: Path, before: Upscaler, after: Upscaler, case: str = "a") -> LevelComparison:
    with open_slide(path) as slide:
        *_, last = compare_level(slide, case, (before, after), 0, AS_STORED, make_full_map())
    assert isinstance(last, LevelComparison)
    return last


def test_gains_are_those_of_an_evaluation_of_the_same_pixels(slide: Path) -> None:
    found = compare(slide, LANCZOS, BackProjection(2))
    for upscaler, gain, scores in (
        (LANCZOS, found.gains.before, found.before),
        (BackProjection(2), found.gains.after, found.after),
    ):
        with open_slide(slide) as opened:
            *_, row = evaluate_level(opened, upscaler, 0, AS_STORED)
        assert isinstance(row, ScoreRow)
        assert gain == pytest.approx(row.gain, abs=1e-9)
        assert scores.ssim == pytest.approx(row.model.ssim, abs=1e-6)
    assert len(found.regions) == 2
    assert found.mpp_lr == 1.0


def test_an_upscaler_gains_nothing_over_itself_and_loses_what_another_gains(slide: Path) -> None:
    assert {gains.difference for gains in compare(slide, LANCZOS, LANCZOS).regions} == {0.0}
    assert compare(slide, BICUBIC, BICUBIC).gains == GainPair(0.0, 0.0)
    there, back = compare(slide, BICUBIC, LANCZOS).gains, compare(slide, LANCZOS, BICUBIC).gains
    assert there.difference == -back.difference != 0


def test_means_are_over_cases_of_equal_weight_and_over_regions_of_a_single_one(slide: Path) -> None:
    one = compare(slide, BICUBIC, LANCZOS)
    (alone,) = summarise_comparisons([one, one])
    assert (alone.unit, alone.count) == ("region", 4)
    other = replace(one, case="b", bicubic=one.before, after=one.before)
    (summary,) = summarise_comparisons([one, one, other])
    assert (summary.unit, summary.count) == ("case", 2)
    assert summary.difference.mean == pytest.approx(one.gains.difference / 2)
    assert summary.difference.interval is not None
    assert summary.difference.interval[0] < summary.difference.mean < summary.difference.interval[1]


def test_a_slide_without_tissue_is_refused(tmp_path: Path) -> None:
    with (
        open_slide(write_blank_slide(tmp_path / "a.ome.tif")) as slide,
        pytest.raises(SlideError, match="leave it out"),
    ):
        list(compare_level(slide, "a", (BICUBIC, LANCZOS), 0, AS_STORED, find_tissue(slide)))
