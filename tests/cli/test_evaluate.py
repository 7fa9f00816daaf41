"""`wsisr evaluate`: tables on stdout, JSON in a file, mistakes in words."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from tests.support.samples import make_noise_levels, write_generic_pyramid
from wsisr.cli.evaluate import evaluate_command
from wsisr.cli.exit_codes import EXIT_PARTLY_FAILED
from wsisr.cli.score_tables import build_score_table
from wsisr.errors import OutputError, SlideError
from wsisr.evaluation import EvaluationInput, ScoreRow
from wsisr.evaluation import evaluate_level as measure
from wsisr.imaging.geometry import Size
from wsisr.models.upscaler import Resampling
from wsisr.slides import open_slide
from wsisr.slides.region import select_region
from wsisr.upscaling.engine import upscale_region

app = typer.Typer()
app.command()(evaluate_command)


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two slides of 0.5 um/px, of two levels each."""
    folder = tmp_path_factory.mktemp("slides")
    pixels = make_noise_levels(Size(601, 520), Size(300, 260))
    options: dict[str, Any] = {"resolution": (20000, 20000), "resolutionunit": 3}
    return [write_generic_pyramid(folder / name, pixels, **options) for name in ("[a].tif", "b.tif")]


def shown(*arguments: str | Path, exit_code: int = 0) -> str:
    command = [*map(str, arguments), "--model", "bicubic", "--scale", "2"]
    result = CliRunner(env={"COLUMNS": "140"}).invoke(app, command, catch_exceptions=False)
    assert result.exit_code == exit_code
    return result.output


def test_a_row_for_each_slide_and_kernel_then_mean_and_worst(slides: list[Path]) -> None:
    text = shown(*slides, "--quiet")
    words = ["[a].tif", "b.tif", "1>0.5", "gain by input", "worst", "white 255"]
    assert [word for word in words if word not in text] == []
    assert text.count("b.tif") == 3
    assert text.count("[a].tif") == 3 + 1 + 3  # rows, the worst of all, the worst on each input
    assert text.index("as stored") < text.index("area")


def test_no_number_is_cut_on_a_terminal_of_80_columns(slides: list[Path]) -> None:
    upscaler = Resampling("lanczos", 2)
    with open_slide(slides[0]) as slide:
        *_, row = measure(slide, upscaler, 0, EvaluationInput("bicubic"))
    assert isinstance(row, ScoreRow)
    terminal = Console(width=80, file=StringIO())
    terminal.print(build_score_table([replace(row, mpp_lr=1.012, mpp_hr=0.506)], upscaler))
    assert isinstance(terminal.file, StringIO)
    text = terminal.file.getvalue()
    assert "…" not in text
    assert text.count("1.01>0.506  bicubic") == 2


def test_a_report_is_a_page_or_json_by_its_name(slides: list[Path], tmp_path: Path) -> None:
    page, scores = tmp_path / "eval.html", tmp_path / "eval.json"
    shown(slides[0], "--kernel", "area", "--no-as-stored", "--report", page, "--json", scores, "--quiet")
    assert "<h1>bicubic at x2</h1>" in page.read_text(encoding="utf-8")
    rings = json.loads(scores.read_bytes())["rows"][0]["ring_correlation"]
    assert rings["model"] == rings["bicubic"]
    for file, reason in ((page, "exists already"), (tmp_path / "eval.pdf", "must end in .json or .html")):
        result = CliRunner().invoke(app, [str(slides[0]), "--scale", "2", "--report", str(file)])
        assert reason in str(result.exception)


def test_json_holds_the_rows_of_all_levels_and_kernels(slides: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    shown(slides[0], "--all-levels", "--no-as-stored", "--kernel", "area", "--kernel", "lanczos", "--json", file)
    facts = json.loads(file.read_text(encoding="utf-8"))
    assert (facts["model"], facts["scale"]) == ("bicubic", 2)
    rows = [(row["level"], row["mpp_hr"], row["kernel"], row["gain"]) for row in facts["rows"]]
    fine, coarse = 0.5, pytest.approx(1.0, rel=1e-2)
    assert rows == [(0, fine, "area", 0), (0, fine, "lanczos", 0), (1, coarse, "area", 0), (1, coarse, "lanczos", 0)]
    assert list(tmp_path.iterdir()) == [file]


def test_the_jpeg_quality_of_the_input_is_shown(slides: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    text = shown(slides[0], "--quality", "70", "--json", file, "--quiet")
    assert "area, JPEG 70" in text
    assert [row["quality"] for row in json.loads(file.read_text())["rows"]] == [75, 70, 70]


def test_rows_are_added_for_densities_pixel_sizes_and_stored_levels(slides: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    options = ["--level", "1", "--kernel", "area", "--densities", "--pixel-sizes", "--quiet", "--json", str(file)]
    text = shown(slides[0], *options, "--real-levels", "--case-pattern", ".")
    assert "levels 0 and 1 show different things" in " ".join(text.split())
    rows = json.loads(file.read_text())["rows"]
    assert [row["density"] for row in rows] == [1, 1, 1.5, 0.5, 0.3, 0.15, 1, 1, 1]
    assert [row["coarsening"] for row in rows[-3:]] == pytest.approx([2**0.25, 2**0.5, 2**0.75])
    assert {row["case"] for row in rows} == {"["}


def test_nuclei_are_in_the_tables_and_in_the_json(slides: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    text = shown(slides[0], "--kernel", "area", "--no-as-stored", "--nuclei", "--all-levels", "--quiet", "--json", file)
    assert [word for word in ("F1 at 3 um", "gap") if word not in text] == []
    facts = json.loads(file.read_text())
    found = facts["rows"][0]["nuclei"]
    assert found["model"] == found["bicubic"]
    assert found["truth_count"] > 0
    assert facts["summary"]["inputs"][0]["nuclei"]["gap_closed"] in (0, None)


def test_nuclei_without_a_pixel_size_are_refused_before_anything_is_measured(tmp_path: Path) -> None:
    unknown = write_generic_pyramid(tmp_path / "unknown.tif", make_noise_levels(Size(300, 300)))
    with pytest.raises(SlideError, match=r"unknown\.tif: pixel size is not recorded.* leave out --nuclei"):
        shown(unknown, "--nuclei", "--quiet")


def test_a_damaged_slide_stops_no_other(slides: list[Path], tmp_path: Path) -> None:
    bad, cut, file = tmp_path / "bad.tif", tmp_path / "cut.tif", tmp_path / "scores.json"
    bad.write_text("dear diary")
    data = bytearray(slides[0].read_bytes())
    data[1000 : len(data) // 2] = bytes(len(data) // 2 - 1000)
    cut.write_bytes(data)
    words = ("--kernel", "area", "--no-as-stored", "--json", file)
    text = shown(bad, cut, slides[0], *words, exit_code=EXIT_PARTLY_FAILED)
    facts = json.loads(file.read_text())
    assert [row["slide"] for row in facts["rows"]] == [slides[0].name]
    assert [failed["slide"] for failed in facts["failed"]] == ["bad.tif", "cut.tif"]
    assert "2 of 3 slides failed, so the scores are without: " in text


def test_a_json_file_is_replaced_only_if_allowed(slides: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    file.write_text("mine")
    options = ["--level", "1", "--kernel", "area", "--no-as-stored", "--quiet", "--json", str(file)]
    arguments: list[str | Path] = [slides[0], *options]
    with pytest.raises(OutputError, match="exists already"):
        shown(*arguments)
    assert file.read_text() == "mine"
    shown(*arguments, "--overwrite")
    assert json.loads(file.read_text())["summary"]["rows"] == 1


def test_a_sampled_level_is_named_as_sampled(tmp_path: Path) -> None:
    wide = write_generic_pyramid(tmp_path / "wide.tif", make_noise_levels(Size(1300, 300)))
    text = shown(wide, "--kernel", "area", "--limit-px", "1000", "--quiet")
    assert "0.289 of 0.365 Mpx, in blocks of 1024 px squared, stand for the level" in text


def test_the_error_of_the_only_slide_is_raised(slides: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="No such file"):
        shown(tmp_path / "missing.svs")
    with pytest.raises(SlideError, match="no level 7"):
        shown(slides[0], "--level", "7")


@pytest.mark.parametrize(
    "wrong",
    [
        ["--level", "1", "--all-levels"],
        ["--kernel", "nearest"],
        ["--scale", "3"],
        ["--limit-px", "0"],
        ["--quality", "0"],
    ],
)
def test_impossible_options_are_usage_errors(slides: list[Path], wrong: list[str]) -> None:
    command = [str(slides[0]), "--model", "bicubic", "--scale", "2", *wrong]
    assert CliRunner().invoke(app, command).exit_code == 2


def test_a_derived_slide_is_refused_unless_allowed(slides: list[Path], tmp_path: Path) -> None:
    written = tmp_path / "written.tif"
    with open_slide(slides[0]) as slide:
        for _ in upscale_region(select_region(slide, level=1), Resampling("bicubic", 2), written):
            pass
    with pytest.raises(SlideError, match="--allow-derived"):
        shown(written, "--quiet")
    assert "written.tif" in shown(written, "--quiet", "--allow-derived")
