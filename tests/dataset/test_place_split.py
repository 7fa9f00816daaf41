"""Splits where there is one case: by place, when asked, and no pixel is in both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from typer.testing import CliRunner, Result

from tests.support.pairs import write_dataset, write_slide
from wsisr.cli.build_dataset import build_dataset_app
from wsisr.dataset.place_split import split_by_place
from wsisr.dataset.reader import PatchStore
from wsisr.dataset.recipe import Recipe
from wsisr.dataset.records import PatchRecord
from wsisr.errors import DatasetError
from wsisr.imaging.geometry import Size


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> PatchRecord:
    return PatchStore(write_dataset(tmp_path_factory.mktemp("pairs"))).records[0]


@settings(max_examples=30)
@given(
    width=st.integers(2, 9),
    height=st.integers(1, 9),
    share=st.sampled_from([0.1, 0.25, 0.5]),
)
def test_patches_of_two_levels_are_split_by_one_line(
    record: PatchRecord, width: int, height: int, share: float
) -> None:
    fine = [(x, y, x + 64, y + 64) for x in range(0, 64 * width, 64) for y in range(0, 64 * height, 64)]
    coarse = [(x, y, x + 128, y + 128) for x in range(0, 64 * width - 64, 128) for y in range(0, 64 * height - 64, 128)]
    pairs = [replace(record, box=box) for box in [*fine, *coarse]]
    split = list(split_by_place(pairs, share))
    by_split = {name: [each.box for each in split if each.split == name] for name in ("train", "val")}
    assert all(by_split.values())
    axis = 0 if width >= height else 1
    assert max(box[axis + 2] for box in by_split["train"]) <= min(box[axis] for box in by_split["val"])
    assert {*fine} <= {each.box for each in split}  # a line along the finest grid cuts no patch of it
    assert abs(len(by_split["val"]) - share * len(pairs)) <= min(width, height) * 2.5


def test_a_single_patch_is_learned_from(record: PatchRecord) -> None:
    assert [each.split for each in split_by_place([replace(record, split="val")], 0.5)] == ["val"]


@settings(max_examples=30)
@given(cases=st.sets(st.integers().map(str), min_size=2, max_size=9))
@example(cases={"-2776102", "-58660438"})  # drawn alike to three digits
def test_the_share_that_is_proposed_holds_out_one_case(cases: set[str]) -> None:
    share = Recipe().find_val_share(cases)
    assert [Recipe(val_share=share).assign_split(case) for case in cases].count("val") == 1


def build(folder: Path, *arguments: str | Path) -> Result:
    words = ["pyramid", *map(str, arguments), "-o", str(folder), "--jobs", "1", "-q", "--patch-px", "64"]
    return CliRunner().invoke(build_dataset_app, words, catch_exceptions=False)


def list_splits(folder: Path) -> Sequence[str]:
    return sorted({record.split for record in PatchStore(folder).records})


def test_slides_of_one_case_are_warned_of_before_the_work_and_split_when_asked(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / f"a_{seed}.ome.tif", Size(320, 128), seed=seed) for seed in (1, 2)]
    plain = build(tmp_path / "plain", *slides)
    assert "warning: all slides are of one case, a, and training needs another for validation: " in plain.stderr
    assert len(list_splits(tmp_path / "plain")) == 1
    split = build(tmp_path / "split", *slides, "--split-by-place", "--val-share", "0.2")
    assert "warning: 0.2 of each slide is held out by place: both splits show case a" in split.stderr
    assert list_splits(tmp_path / "split") == ["train", "val"]
    report = (tmp_path / "split" / "report.html").read_text()
    assert "These cases are in both, for each slide was split by place: a" in report
    write_slide(tmp_path / "b_1.ome.tif", Size(128, 128))
    drawn = build(tmp_path / "drawn", *slides, tmp_path / "b_1.ome.tif", "--val-share", "0.001")
    (share,) = re.findall(r"warning: of 2 cases .* give --validation, or --val-share (\S+), which", drawn.stderr)
    build(tmp_path / "as-told", *slides, tmp_path / "b_1.ome.tif", "--val-share", share)
    assert list_splits(tmp_path / "as-told") == ["train", "val"]
    with pytest.raises(DatasetError, match="--split-by-place is for slides of one case, and these are of 2"):
        build(tmp_path / "two", *slides, tmp_path / "b_1.ome.tif", "--split-by-place")
