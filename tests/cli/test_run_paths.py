"""Nothing that a run writes may take the place of what it reads, in a dry run either."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.support.samples import make_noise, write_tiff
from wsisr.cli.app import app
from wsisr.errors import OutputError
from wsisr.imaging.geometry import Size

PITCHED = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER", "photometric": "rgb", "metadata": None}


def write_slide(path: Path) -> Path:
    return write_tiff(path, make_noise(Size(60, 50)), **PITCHED)


def upscaled(*arguments: object) -> Result:
    words = ["upscale", *map(str, arguments), "--scale", "2", "--model", "bicubic", "--overwrite"]
    return CliRunner(env={"COLUMNS": "2000"}).invoke(app, words)


def refused(*arguments: object) -> str:
    """Give a run and its dry run; return what the first of them says on being refused as wrong usage."""
    before = {path: path.read_bytes() for path in arguments if isinstance(path, Path) and path.is_file()}
    runs = [upscaled(*arguments, *dry) for dry in ((), ("--dry-run",))]
    assert [run.exit_code for run in runs] == [2, 2]
    assert all(path.read_bytes() == content for path, content in before.items())
    return runs[0].stderr


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return write_slide(tmp_path / "a.tif")


def test_no_result_of_a_batch_replaces_another_slide_of_it(slide: Path, tmp_path: Path) -> None:
    scan = write_slide(tmp_path / "a.x2.svs")
    before = scan.read_bytes()
    said = refused(tmp_path, "--layout", "aperio")
    assert f"{scan}: the result of {slide} would replace the slide {scan}" in said
    assert "replace the slide" in refused(slide, scan, "--layout", "aperio", "--shard", "1/2")
    linked = tmp_path / "linked"
    linked.mkdir()
    os.link(scan, linked / "b.x2.svs")
    assert "replace the slide" in refused(write_slide(linked / "b.tif"), scan, "--layout", "aperio")
    assert scan.read_bytes() == before


def test_a_result_that_a_shell_gives_as_a_slide_stops_no_other(slide: Path, tmp_path: Path) -> None:
    assert upscaled(slide, "--layout", "aperio").exit_code == 0
    result = tmp_path / "a.x2.svs"
    again = upscaled(slide, result, "--layout", "aperio")
    assert again.exit_code == 3
    assert f"{result}: wsisr wrote it" in again.stderr
    assert "replace the slide" in refused(slide, result, "--layout", "aperio", "--allow-derived")


def test_no_result_that_a_table_names_replaces_a_slide(slide: Path, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    scan, table = write_slide(tmp_path / "p" / "s.svs"), tmp_path / "cohort.csv"
    before = scan.read_bytes()
    table.write_text("path,output\na.tif,p/s.svs\np/s.svs,b.tif\n")
    assert f"the result of {slide} would replace the slide {scan}" in refused(table)
    assert scan.read_bytes() == before


@pytest.mark.usefixtures("slide")
def test_no_result_replaces_a_folder_that_holds_a_slide(tmp_path: Path) -> None:
    (tmp_path / "made.zarr").mkdir()
    scan, table = write_slide(tmp_path / "made.zarr" / "s.tif"), tmp_path / "cohort.csv"
    table.write_text("path,output\na.tif,made.zarr\nmade.zarr/s.tif,../b.zarr\n")
    assert f"would replace the slide {scan}" in refused(table, "--layout", "ome-zarr")
    assert scan.exists()


@pytest.mark.parametrize("option", ["--log", "--report", "--save-mask"])
def test_no_other_file_of_a_run_is_one_that_it_reads(slide: Path, tmp_path: Path, option: str) -> None:
    mask = tmp_path / "mask.png"
    mask.write_bytes(b"drawn by hand")
    assert "which this run reads" in refused(slide, option, slide)
    assert f"belongs to the file of --tissue, {mask}" in refused(slide, "--tissue", mask, option, mask)


def test_a_log_has_no_name_of_another_file_of_the_run(slide: Path, tmp_path: Path) -> None:
    result, report = tmp_path / "r.tif", tmp_path / "r.json"
    assert "is to be a result of this run too" in refused(slide, "-o", result, "--log", result)
    other = write_slide(tmp_path / "b.tif")
    made = tmp_path / "out" / "b.x2.ome.tif"
    assert "is to be a result of this run too" in refused(slide, other, "-o", tmp_path / "out", "--log", made)
    assert "is the file of --report too" in refused(slide, "-o", result, "--report", report, "--log", report)
    assert not result.exists()
    assert not report.exists()


@pytest.mark.parametrize(("option", "words"), [("--work-dir", "work in progress"), ("--stage", "copies of slides")])
def test_a_dry_run_says_that_a_folder_is_missing(slide: Path, tmp_path: Path, option: str, words: str) -> None:
    for output in (tmp_path / "r.tif", f"{tmp_path}/out/"):
        run = upscaled(slide, "-o", output, option, tmp_path / "none", "--dry-run")
        assert isinstance(run.exception, OutputError)
        assert str(run.exception) == f"{tmp_path / 'none'}: no folder for {words}; create it first"


def test_overwrite_replaces_no_slide_that_wsisr_did_not_write(slide: Path, tmp_path: Path) -> None:
    scan = write_slide(tmp_path / "scan.tif")
    before = scan.read_bytes()
    for dry in ((), ("--dry-run",)):
        run = upscaled(slide, "-o", scan, *dry)
        assert isinstance(run.exception, OutputError)
        assert f"{scan}: exists already, and wsisr did not write it; " in str(run.exception)
    assert scan.read_bytes() == before
    scan.write_text("no slide")
    for _ in range(2):
        assert upscaled(slide, "-o", scan).exit_code == 0


def test_a_file_in_the_place_of_the_work_folder_is_named(slide: Path, tmp_path: Path) -> None:
    part = tmp_path / "r.tif.wsisr-part"
    part.write_text("mine")
    run = upscaled(slide, "-o", tmp_path / "r.tif")
    assert str(run.exception).startswith(f"{part}: is a file where the folder for work in progress is to be; move it")
    assert part.read_text() == "mine"
