"""What rows come to, for people's tables and as JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from wsisr.evaluation import (
    AS_STORED,
    EvaluationInput,
    FlatScores,
    ScoreRow,
    Scores,
    build_json_report,
    compute_gain,
    list_inputs,
    measure_flat_images,
    summarise_rows,
)
from wsisr.evaluation.confidence import mean_interval, student_t
from wsisr.imaging.pixels import FilterName
from wsisr.imaging.texture import TextureComparison
from wsisr.models.upscaler import Resampling


def make_row(slide: str, kernel: FilterName, model: float, flat: FlatScores | None = None) -> ScoreRow:
    """Bicubic at 30 dB, back-projection at 30.5 dB."""
    return ScoreRow(
        slide=Path("folder") / slide,
        level=0,
        mpp_lr=1.0,
        mpp_hr=0.25,
        source=EvaluationInput(kernel),
        pixels=100,
        level_pixels=200,
        model=Scores(model, 0.9, 0.5, TextureComparison(0.25, (0.75, 1.0))),
        bicubic=Scores(30.0, 0.8, 2.0, TextureComparison(0.5, (0.5,))),
        back_projection=Scores(30.5, 0.85, 0.25),
        flat=flat,
    )


ROWS = [
    make_row("a.svs", "area", 31.0),
    make_row("a.svs", "bicubic", 33.0, FlatScores(cells=3, cells_below=1, model_psnr=50.5, bicubic_psnr=50.0)),
    make_row("b.svs", "area", 31.5),
    make_row("b.svs", "bicubic", 31.5, FlatScores(cells=2, cells_below=2, model_psnr=49.0, bicubic_psnr=math.inf)),
]


@pytest.mark.parametrize(
    ("model", "baseline", "expected"),
    [(31, 30, 1), (math.inf, math.inf, 0), (math.inf, 90, 0), (79, math.inf, -1), (math.inf, 70, 10)],
)
def test_a_gain_is_a_difference_in_db_and_always_finite(model: float, baseline: float, expected: float) -> None:
    assert compute_gain(model, baseline) == expected


def test_a_summary_holds_means_over_rows_and_the_worst() -> None:
    told = summarise_rows(ROWS)
    assert (told.rows, told.gain, told.back_projection_gain) == (4, 1.75, 0.5)
    assert told.kernel_gains == {"area": 1.25, "bicubic": 2.25}
    assert [item.label for item in told.inputs] == ["area", "bicubic"]
    assert told.worst == ROWS[0]
    assert (told.worst_slide, told.worst_slide_gain) == (Path("folder/b.svs"), 1.5)
    assert told.flat_gain == -31
    assert (told.model_texture, told.bicubic_texture) == (0.25, 0.5)


def test_a_summary_without_flat_cells_has_no_flat_gain() -> None:
    assert summarise_rows(ROWS[:1]).flat_gain is None


def test_slides_of_one_name_in_two_folders_are_two_slides() -> None:
    twin = ScoreRow(**{**{name: getattr(ROWS[0], name) for name in ScoreRow.__slots__}, "slide": Path("other/a.svs")})
    assert summarise_rows([ROWS[1], twin]).worst_slide == Path("other/a.svs")


def test_json_has_stable_keys_and_no_value_that_json_lacks() -> None:
    facts = build_json_report(ROWS, measure_flat_images(Resampling("bicubic", 2), [EvaluationInput()]))
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert list(facts) == ["border_px", "rows", "flat_probe", "summary"]
    assert facts["rows"][3] == {
        "slide": "b.svs",
        "case": "b",
        "level": 0,
        "mpp_lr": 1.0,
        "mpp_hr": 0.25,
        "input": "bicubic",
        "kernel": "bicubic",
        "quality": None,
        "density": 1.0,
        "coarsening": 1.0,
        "input_level": None,
        "pixels": 100,
        "level_pixels": 200,
        "gain": 1.5,
        "back_projection_gain": 0.5,
        "model": {"psnr": 31.5, "ssim": 0.9, "consistency": 0.5, "texture": {"distance": 0.25, "detail": [0.75, 1.0]}},
        "bicubic": {"psnr": 30.0, "ssim": 0.8, "consistency": 2.0, "texture": {"distance": 0.5, "detail": [0.5]}},
        "back_projection": {"psnr": 30.5, "ssim": 0.85, "consistency": 0.25, "texture": None},
        "flat": {"cells": 2, "cells_below": 2, "model_psnr": 49.0, "bicubic_psnr": None, "gain": -31.0},
        "nuclei": None,
        "ring_correlation": None,
    }
    assert facts["flat_probe"][0] == {
        "name": "white 255",
        "input": "area",
        "kernel": "area",
        "model_psnr": None,
        "bicubic_psnr": None,
        "gain": 0.0,
        "largest_error": 0,
    }
    worst = {"slide": "a.svs", "level": 0, "input": "area", "gain": 1.0}
    assert facts["summary"]["worst_row"] == worst | {"kernel": "area"}
    assert facts["summary"]["inputs"][0] == {
        "input": "area",
        "rows": 2,
        "cases": 2,
        "gain": 1.25,
        "interval_95": pytest.approx([1.25 - 12.7062 * 0.25, 1.25 + 12.7062 * 0.25]),
        "back_projection_gain": 0.5,
        "worst_row": worst,
        "flat_gain": None,
        "nuclei": None,
        "resolution_um": None,
    }
    assert facts["summary"]["worst_slide"] == {"slide": "b.svs", "gain": 1.5}


def test_slides_of_one_case_count_once_in_an_interval() -> None:
    rows = [make_row(name, "area", model) for name, model in (("a_1.svs", 31.0), ("a_2.svs", 32.0), ("b.svs", 32.0))]
    (found,) = summarise_rows(rows).inputs
    assert (found.rows, found.cases, found.gain) == (3, 2, 1.75)
    (each,) = summarise_rows(rows, lambda slide: slide.stem).inputs
    assert each.cases == 3
    assert each.gain == pytest.approx(5 / 3)
    (alone,) = summarise_rows(rows[:2]).inputs
    assert (alone.gain, alone.interval) == (1.5, None)


def test_as_stored_comes_first_and_no_two_inputs_are_alike() -> None:
    assert list_inputs(["area", "bicubic"]) == [AS_STORED, EvaluationInput("area"), EvaluationInput("bicubic")]
    assert list_inputs(["area"], 75) == [AS_STORED]
    assert list_inputs(["bicubic"], 50, as_stored=False) == [EvaluationInput("bicubic", 50)]
    every = list_inputs(["area", "bicubic"], 50, densities=True, pixel_sizes=True)
    labels = [source.label for source in every]
    assert labels[:4] == ["as stored", "area, JPEG 50", "bicubic, JPEG 50", "as stored, density 1.5"]
    assert labels[-1] == "as stored, 1.68 coarser"
    assert len(set(labels)) == len(every) == 10


@pytest.mark.parametrize("freedom", [1, 2, 3, 10, 30, 31, 60, 500])
def test_student_t_leaves_a_fortieth_above_it(freedom: int) -> None:
    """By Simpson's rule on the density, which is even."""
    t = np.linspace(0, student_t(freedom), 20001)
    constant = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    density = constant * (1 + t**2 / freedom) ** (-(freedom + 1) / 2)
    inner = (density[0] + 4 * density[1::2].sum() + 2 * density[2:-1:2].sum() + density[-1]) * (t[1] - t[0]) / 3
    assert inner == pytest.approx(0.475, abs=2e-5)


def test_an_interval_is_that_of_a_textbook() -> None:
    assert mean_interval([1.0]) is None
    assert mean_interval([1.0, 2.0, 3.0, 4.0]) == pytest.approx(
        (2.5 - 3.1824 * 0.645497, 2.5 + 3.1824 * 0.645497), rel=1e-4
    )
