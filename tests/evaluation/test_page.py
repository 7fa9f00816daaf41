"""The page of an evaluation: what the JSON says, with pictures of the extremes, and no script of a stranger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.reports.elements import Elements
from tests.support.samples import make_noise, write_generic_pyramid
from wsisr.evaluation import EvaluationInput, ExamplePatch, Sampling, ScoreRow, evaluate_level
from wsisr.evaluation.example_patches import PATCH_PX, ExampleCollector
from wsisr.evaluation.page import EvaluationResult, ExampleSet, render_evaluation
from wsisr.evaluation.scores import compute_gain
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.metrics import compute_psnr
from wsisr.imaging.pixels import Rgb, enlarge_image, shrink_image
from wsisr.models.upscaler import Resampling
from wsisr.slides import open_slide

HOSTILE = "<script>alert(1)</script>\"'.svs"


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[ExamplePatch | ScoreRow]:
    """Row and patches of Lanczos on a slide of noise at 0.5 um/px."""
    path = write_generic_pyramid(
        tmp_path_factory.mktemp("slide") / "a.tif", [make_picture()], resolution=(20000, 20000), resolutionunit=3
    )
    with open_slide(path) as slide:
        found = list(evaluate_level(slide, Resampling("lanczos", 2), 0, EvaluationInput(), Sampling(64)))
    return [step for step in found if isinstance(step, ExamplePatch | ScoreRow)]


def make_picture() -> Rgb:
    """(420, 420, 3) of structure that an enlargement can show in part."""
    return enlarge_image(make_noise(Size(140, 140)), 3, "bicubic")


def find_row(steps: list[ExamplePatch | ScoreRow]) -> ScoreRow:
    return next(step for step in steps if isinstance(step, ScoreRow))


def make_result(row: ScoreRow, patches: list[ExamplePatch], slide: str) -> EvaluationResult:
    examples = ExampleSet()
    for patch in patches:
        examples.add(patch, slide)
    rows = [replace(row, slide=Path("folder") / name) for name in ("first_1.svs", slide)]
    return EvaluationResult("lanczos", "on the CPU", 2, None, rows, examples={row.source.label: examples})


def test_a_row_has_the_resolution_of_all_three_by_blocks_of_any_size(
    steps: list[ExamplePatch | ScoreRow], tmp_path: Path
) -> None:
    row = find_row(steps)
    assert row.rings is not None
    resolutions = row.rings.resolutions_um()
    assert resolutions is not None
    assert all(1.0 <= each < 10 for each in resolutions)
    path = write_generic_pyramid(tmp_path / "a.tif", [make_picture()], resolution=(20000, 20000), resolutionunit=3)
    with open_slide(path) as slide:
        *_, whole = evaluate_level(slide, Resampling("lanczos", 2), 0, EvaluationInput())
    assert isinstance(whole, ScoreRow)
    assert whole.rings is not None
    assert whole.rings.model.values == pytest.approx(row.rings.model.values, abs=1e-5)


def test_the_best_and_the_worst_patch_are_the_extremes() -> None:
    truth = make_picture()
    low, rng = shrink_image(truth, 2, "area"), np.random.default_rng(0)
    bicubic = enlarge_image(low, 2, "bicubic")
    model = bicubic.copy()
    model[:128, :128] = truth[:128, :128]  # perfect here, and worse there
    model[256:384, 128:256] = rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)
    collector = ExampleCollector()
    collector.add_block([model, bicubic, truth], low, Box(0, 0, 384, 384), (1000, 2000))
    assert collector.best is not None
    assert collector.worst is not None
    assert (collector.best.at, collector.worst.at) == ((1000, 2000), (1128, 2256))
    assert np.array_equal(collector.best.model, collector.best.truth)
    assert collector.worst.gain == compute_gain(
        compute_psnr(collector.worst.model, collector.worst.truth),
        compute_psnr(collector.worst.bicubic, collector.worst.truth),
    )
    assert collector.best.low.shape == (PATCH_PX // 2, PATCH_PX // 2, 3)


def test_patches_that_show_nothing_are_no_examples() -> None:
    blank, collector = np.full((128, 128, 3), 240, np.uint8), ExampleCollector()
    collector.add_block([blank, blank, blank], blank[::2, ::2], Box(0, 0, 128, 128), (0, 0))
    assert collector.best is collector.worst is None


def test_the_page_shows_rows_gains_and_pictures_and_names_stay_text(steps: list[ExamplePatch | ScoreRow]) -> None:
    row, patches = find_row(steps), [step for step in steps if isinstance(step, ExamplePatch)]
    page = Elements(render_evaluation(make_result(row, patches, HOSTILE)))
    assert not page.named("script")
    assert all(not name.startswith("on") for _, attributes in page.found for name in attributes)
    assert HOSTILE in page.text
    assert page.text.count(f"{row.gain:+.2f}") >= 3
    captions = [image["alt"] for image in page.named("img")]
    assert captions[:4] == ["best patch, input", "best patch, bicubic", "best patch, model", "best patch, truth"]
    assert len(captions) == 8
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.named("img"))


def test_a_page_of_one_small_case_says_what_it_lacks(steps: list[ExamplePatch | ScoreRow]) -> None:
    row = replace(find_row(steps), rings=None, mpp_hr=None, mpp_lr=None)
    text = Elements(render_evaluation(EvaluationResult("lanczos", "on the CPU", 2, None, [row]))).text
    assert "No image was as large as a window of 128 px." in text
    assert "No patch of 128 px showed anything." in text
    assert "unknown" in text
