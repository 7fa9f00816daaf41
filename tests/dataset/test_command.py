"""`wsisr build-dataset`: a table of what was built, warnings for what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.pairs import write_glass, write_slide
from wsisr.cli.build_dataset import build_dataset
from wsisr.dataset.store import PatchStore
from wsisr.errors import DatasetError, SlideError
from wsisr.geometry import Size

app = typer.Typer()
app.command()(build_dataset)


def run(*arguments: str | Path) -> Result:
    options = [*map(str, arguments), "--patch-px", "64"]
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, options, catch_exceptions=False)


def rows(output: str) -> list[list[str]]:
    """Cells of the table's rows, without the rules between them."""
    return [[cell.strip() for cell in line.strip("│┃").split("│")] for line in output.splitlines() if "│" in line]


def test_the_table_counts_patches_and_slides_by_pitch_and_split(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_slide(tmp_path / "slides" / f"{name}.ome.tif", Size(256, 256), (2, 4))
    held_out = write_slide(tmp_path / "held" / "c.ome.tif", Size(256, 128), (2,))
    done = run(tmp_path / "slides", "--validation", held_out, "-o", tmp_path / "pairs")
    assert done.exit_code == 0
    assert rows(done.stdout) == [
        ["0.5 um/px", "32", "2", "8", "1"],
        ["1 um/px", "8", "2", "0", "0"],
        ["all", "40", "2", "8", "1"],
    ]
    assert len(PatchStore(tmp_path / "pairs").records) == 48
    assert "levels: 100 %" in done.stderr


def test_what_the_dataset_lacks_is_said(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / "a.ome.tif"), write_glass(tmp_path / "glass.ome.tif")]
    done = run(*slides, "-o", tmp_path / "pairs", "--val-share", "0", "--quiet")
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"wsisr: warning: {slides[1]}: no patch has contrast; nothing was taken from this slide",
        "wsisr: warning: no patch is in the split val, which training needs; see --validation and --val-share",
    ]


def test_bad_input_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    good, missing = write_slide(tmp_path / "a.ome.tif"), tmp_path / "none.svs"
    with pytest.raises(SlideError, match=r"none\.svs: .*No such file"):
        run(good, missing, "-o", tmp_path / "pairs")
    with pytest.raises(DatasetError, match="is not a regular expression"):
        run(good, "-o", tmp_path / "pairs", "--case-pattern", "(")
    with pytest.raises(DatasetError, match="exists already"):
        run(good, "-o", good)
    assert list(tmp_path.iterdir()) == [good]


def test_numbers_that_cannot_be_meant_are_wrong_usage(tmp_path: Path) -> None:
    for option, value in (("--most-patches", "0"), ("--coarsest-mpp", "-1"), ("--val-share", "2")):
        assert run(tmp_path, "-o", tmp_path / "pairs", option, value).exit_code == 2
