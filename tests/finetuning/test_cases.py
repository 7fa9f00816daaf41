"""Which cases judge, and what cannot be finetuned on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.networks import make_small_spec
from tests.support.pairs import write_slide
from wsisr.errors import DatasetError, OptionError, OutputError, WsisrError
from wsisr.finetuning.cases import SlideSelection, choose_held_out_cases, select_slides
from wsisr.finetuning.request import FinetuneRequest
from wsisr.imaging.geometry import Size

SPEC = replace(make_small_spec("masrgan"), input_mpp=(0.5, 4.0))


@settings(max_examples=30)
@given(cases=st.sets(st.integers().map(str), min_size=2, max_size=20))
def test_some_cases_judge_and_others_are_learned_from_always_the_same(cases: set[str]) -> None:
    held_out = choose_held_out_cases(cases)
    assert held_out < cases
    assert len(held_out) == (1 if len(cases) < 6 else max(3, round(len(cases) / 4)))
    assert choose_held_out_cases({*sorted(cases)}) == held_out


def select(slides: Sequence[Path], **options: object) -> SlideSelection:
    steps = select_slides(FinetuneRequest(slides, output="mine", **options), SPEC)  # type: ignore[arg-type]
    while True:
        try:
            next(steps)
        except StopIteration as done:
            selection: SlideSelection = done.value
            return selection


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    for seed, name in enumerate(("a_1", "a_2", "b_1", "c_1")):
        write_slide(folder / f"{name}.ome.tif", Size(64, 64), (), seed=seed)
    write_slide(folder / "coarse_1.ome.tif", Size(64, 64), (), mpp=3.0)
    write_slide(folder / "bare_1.ome.tif", Size(64, 64), (), mpp=None)
    return folder


def paths(folder: Path, *names: str) -> list[Path]:
    return [folder / f"{name}.ome.tif" for name in names]


def test_all_slides_of_a_case_are_on_one_side(slides: Path) -> None:
    selection = select(paths(slides, "a_1", "a_2", "b_1", "c_1"))
    assert selection.case_counts == (2, 1)
    assert len({slide.case for slide in selection.held_out}) == 1
    named = select(paths(slides, "a_1", "a_2", "b_1"), validation=paths(slides, "b_1"))
    assert [slide.path.name for slide in named.held_out] == ["b_1.ome.tif"]
    with pytest.raises(DatasetError, match="case a is in training and in validation"):
        select(paths(slides, "a_1", "b_1"), validation=paths(slides, "a_2"))


def test_a_copy_under_another_name_does_not_judge_what_it_taught(slides: Path, tmp_path: Path) -> None:
    copy = tmp_path / "d_1.ome.tif"
    shutil.copy(slides / "a_1.ome.tif", copy)
    with pytest.raises(DatasetError, match=r"d_1.*: is to judge, and .*a_1.* is a copy of it that is trained on"):
        select(paths(slides, "a_1", "b_1"), validation=[copy])
    assert select(paths(slides, "b_1", "c_1"), validation=[copy]).case_counts == (2, 1)


def test_slides_that_cannot_be_used_are_told_and_the_others_go_on(slides: Path) -> None:
    selection = select([slides, slides / "none_1.svs"])
    assert len(selection.slides) == 4
    assert len(selection.refusals) == 3
    coarse, bare, missing = (
        next(text for text in selection.refusals if name in text) for name in ("coarse_1", "bare_1", "none_1")
    )
    assert "3 um/px, where x2 is learned from 0.25 to 2 um/px; leave it out" in coarse
    assert "pixel size is not recorded; give it in a table with the columns path and mpp" in bare
    assert "none_1.svs" in missing


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("a_1", "a_2"), "all slides are of one case, a: a network must be judged on a case that it has not seen"),
        (("a_1", "bare_1"), r"all slides are of one case, a \(1 other cannot be used; the first: .*bare_1.*\): "),
        (("bare_1",), "bare_1.ome.tif: pixel size is not recorded"),
        (("bare_1", "coarse_1"), "no slide can be used; the first: .*bare_1"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(slides: Path, names: Sequence[str], words: str) -> None:
    with pytest.raises(WsisrError, match=words) as error:
        select(paths(slides, *names))
    assert "\n" not in str(error.value)


def test_one_patient_s_sections_are_cases_where_the_pattern_says_so(slides: Path) -> None:
    assert select(paths(slides, "a_1", "a_2"), case_pattern=r"^[^.]+").case_counts == (1, 1)


def test_impossible_options_and_names_are_refused() -> None:
    for options in ({"scale": 3}, {"minutes": 0.0}, {"minutes": float("nan")}):
        with pytest.raises(OptionError):
            FinetuneRequest(["a.svs"], **options)
    for folder in ("/", "models/mmsrnet-x2", "bicubic"):
        with pytest.raises(OutputError, match="give another folder"):
            FinetuneRequest(["a.svs"], output=folder)
