"""`wsisr build-dataset`: a table of what was built, warnings for what it lacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.support.pairs import write_blank_slide, write_slide
from wsisr.cli.build_dataset import build_dataset_app
from wsisr.dataset.reader import PatchStore
from wsisr.errors import ConfigError, OutputError, SlideError
from wsisr.imaging.geometry import Size


def run_build_dataset(*arguments: str | Path, command: str = "pyramid") -> Result:
    options = [command, *map(str, arguments), *(["--patch-px", "64", "--jobs", "1"] if command == "pyramid" else [])]
    return CliRunner(env={"COLUMNS": "140"}).invoke(build_dataset_app, options, catch_exceptions=False)


def table_rows(output: str) -> list[list[str]]:
    """Cells of the table's rows, without the rules between them."""
    return [[cell.strip() for cell in line.strip("│┃").split("│")] for line in output.splitlines() if "│" in line]


def test_the_table_counts_pairs_patches_and_slides(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_slide(tmp_path / "slides" / f"{name}.ome.tif", Size(256, 256), (2, 4))
    held_out = write_slide(tmp_path / "held" / "c.ome.tif", Size(256, 128), (2,))
    done = run_build_dataset(tmp_path / "slides", "--validation", held_out, "-o", tmp_path / "pairs")
    assert done.exit_code == 0
    assert table_rows(done.stdout) == [
        ["pyramid", "20x", "x2", "32", "32", "2", "8", "8", "1"],
        ["pyramid", "20x", "x4", "32", "32", "2", "0", "0", "0"],
        ["pyramid", "10x", "x2", "8", "8", "2", "0", "0", "0"],
        ["all", "", "", "72", "40", "2", "8", "8", "1"],
    ]
    assert len(PatchStore(tmp_path / "pairs").records) == 80
    assert "slides: 100 %" in done.stderr
    assert "3 slides of 3 cases by their file names; to train on: a, b; to validate on: c" in done.stderr


def test_what_the_dataset_lacks_is_said(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / "a.ome.tif"), write_blank_slide(tmp_path / "glass.ome.tif")]
    done = run_build_dataset(*slides, "-o", tmp_path / "pairs", "--val-share", "0", "--quiet")
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"wsisr: warning: {slides[1]}: no patch has contrast; nothing was taken from this slide",
        "wsisr: warning: no patch is in the split val, which training needs; see --validation and --val-share",
    ]


def test_info_says_the_same_as_json(tmp_path: Path) -> None:
    run_build_dataset(write_slide(tmp_path / "P1_a.ome.tif"), "-o", tmp_path / "pairs", "--quiet")
    assert run_build_dataset(tmp_path / "pairs", command="info").stdout.count("pyramid") == 3
    facts = json.loads(run_build_dataset(tmp_path / "pairs", "--json", command="info").stdout)
    assert facts == {
        "pairs": 13,
        "patches": 7,
        "bytes": 64 * 64 * 3 * (6 * 21 + 20) // 16,
        "look_alikes": 0,
        "pairs_by_slide": {"P1_a.ome.tif": 13},
        "pairs_by_case": {"P1": 13},
        "pairs_by_magnification": {"10x": 1, "20x": 12},
        "pairs_by_scale": {"x2": 7, "x4": 6},
        "pairs_by_split": {"train": 13},
        "pairs_by_kind": {"pyramid": 13},
    }


def test_a_slide_that_cannot_be_used_is_a_line_and_an_exit_code_of_its_own(tmp_path: Path) -> None:
    good, missing = write_slide(tmp_path / "a.ome.tif"), tmp_path / "none.svs"
    done = run_build_dataset(good, missing, "-o", tmp_path / "pairs", "--quiet")
    assert done.exit_code == 3
    assert done.stderr.startswith(f"wsisr: error: {missing}: ")
    assert PatchStore(tmp_path / "pairs").records


def test_a_reason_is_given_once_and_leads_to_simulated_pairs(tmp_path: Path) -> None:
    single_levels = [write_slide(tmp_path / f"{name}.ome.tif", factors=()) for name in "ab"]
    for slides in (single_levels[:1], single_levels):
        done = CliRunner().invoke(build_dataset_app, ["pyramid", *map(str, slides), "-o", str(tmp_path / "pairs")])
        told = f"{done.stderr}\nwsisr: error: {done.exception}"
        assert told.count(f"{slides[0]}: its only level has no other 2, 4 or 8 times as coarse") == 1
        assert "build-dataset simulated" in told
    assert str(done.exception) == f"{tmp_path / 'pairs'}: no slide gives a pair: 2 of 2 cannot be used"


def test_bad_input_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    good = write_slide(tmp_path / "a.ome.tif")
    with pytest.raises(SlideError, match=r"none\.svs: .*No such file"):
        run_build_dataset(tmp_path / "none.svs", "-o", tmp_path / "pairs")
    with pytest.raises(ConfigError, match="is not a regular expression"):
        run_build_dataset(good, "-o", tmp_path / "pairs", "--case-pattern", "(")
    with pytest.raises(OutputError, match="exists already"):
        run_build_dataset(good, "-o", good)
    assert list(tmp_path.iterdir()) == [good]


def test_numbers_that_cannot_be_meant_are_wrong_usage(tmp_path: Path) -> None:
    for option, value in (("--most-patches", "0"), ("--coarsest-mpp", "-1"), ("--val-share", "2")):
        assert run_build_dataset(tmp_path, "-o", tmp_path / "pairs", option, value).exit_code == 2


def test_look_alikes_of_two_splits_are_warned_of_and_shown(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / f"{name}.ome.tif") for name in "ab"]
    done = run_build_dataset(slides[0], "--validation", slides[1], "-o", tmp_path / "pairs", "--quiet")
    warning = "pairs of patches of a.ome.tif (train) and b.ome.tif (val) look alike; give both slides one case"
    assert warning in done.stderr
    assert warning in run_build_dataset(tmp_path / "pairs", command="info").stdout.replace("\n", "")
    assert json.loads(run_build_dataset(tmp_path / "pairs", "--json", command="info").stdout)["look_alikes"] >= 6
