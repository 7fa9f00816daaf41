"""Many slides in one run, as a person or a cluster starts it."""

from __future__ import annotations

import json
import os
import re
import socket
from contextlib import closing
from datetime import datetime
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import tifffile
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tests.support.changes import overwrite_in_place
from tests.support.disks import make_readable_folder, run_as_nobody
from tests.support.samples import make_noise, write_tiff
from wsisr.cli.app import app
from wsisr.cli.batch import BatchItem, BatchRun, run_batch, select_shard
from wsisr.cli.enlargement import SlideEnlargement
from wsisr.cli.frontend import TerminalFrontend
from wsisr.cli.resources import ParallelResources
from wsisr.cli.run_report import ReportRow, RunReport
from wsisr.cli.slide_stage import enlarge_from_stage
from wsisr.cli.usage import find_error_code
from wsisr.errors import NotFoundError, OutputError, OutputNameError, SlideError, WsisrError
from wsisr.imaging.geometry import Size
from wsisr.slides.staging import SlideStage
from wsisr.upscaling.request import UpscaleRequest

PITCHED = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER", "photometric": "rgb", "metadata": None}


def upscaled(*arguments: object, model: str = "bicubic") -> Result:
    words = ["upscale", *map(str, arguments), "--scale", "2", "--model", model]
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, words)


@pytest.fixture
def slides(tmp_path: Path) -> list[Path]:
    return [
        write_tiff(tmp_path / f"{name}.tif", make_noise(Size(60, 50), seed), **PITCHED)
        for seed, name in enumerate("ab")
    ]


def states(report: Path) -> list[str]:
    return [each["state"] for each in json.loads(report.read_bytes())["slides"]]


def test_one_bad_slide_stops_no_other_and_ends_with_3(slides: list[Path], tmp_path: Path) -> None:
    bad, folder, report = tmp_path / "bad.tif", tmp_path / "out", tmp_path / "run.json"
    bad.write_text("dear diary")
    done = upscaled(slides[0], bad, slides[1], "-o", folder, "--report", report)
    assert done.exit_code == 3
    assert sorted(path.name for path in folder.iterdir()) == ["a.x2.ome.tif", "b.x2.ome.tif"]
    assert states(report) == ["done", "failed", "done"]
    assert "bad.tif" in json.loads(report.read_bytes())["slides"][1]["error"]
    assert "3 slides, 1 failed" in done.stdout
    assert done.stderr.count("error: ") == 1


def test_a_missing_slide_is_wrong_usage_if_it_is_the_only_one(slides: list[Path], tmp_path: Path) -> None:
    missing = slides[0].with_name("gone.tif")
    done = upscaled(missing, "-o", tmp_path / "results")
    assert isinstance(done.exception, NotFoundError)
    assert not (tmp_path / "results").exists()


def test_a_slide_that_may_not_be_read_stops_no_other() -> None:
    with make_readable_folder() as folder:
        folder.chmod(0o777)
        slides = [write_tiff(folder / f"{name}.tif", make_noise(Size(60, 50)), **PITCHED) for name in "ab"]
        slides[0].chmod(0)
        slides[1].chmod(0o644)
        with run_as_nobody():
            done = upscaled(*slides)
        assert done.exit_code == 3
        assert "a.tif: " in done.stderr
        assert (folder / "b.x2.ome.tif").exists()


def test_a_second_run_makes_only_what_is_missing(slides: list[Path], tmp_path: Path) -> None:
    folder, report = tmp_path / "out", tmp_path / "run.json"
    assert upscaled(*slides, "-o", folder).exit_code == 0
    first = folder / "a.x2.ome.tif"
    before = first.read_bytes(), first.stat().st_mtime_ns
    (folder / "b.x2.ome.tif").unlink()
    done = upscaled(*slides, "-o", folder, "--report", report)
    assert done.exit_code == 0
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before
    assert states(report) == ["finished before", "done"]
    assert "is finished already" in done.stderr


def test_one_slide_that_is_finished_is_left_alone_as_many_are(slides: list[Path], tmp_path: Path) -> None:
    output, mask, report = tmp_path / "a.out.tif", tmp_path / "mask.png", tmp_path / "run.json"
    same = (slides[0], "-o", output, "--save-mask", mask, "--report", report)
    assert upscaled(*same).exit_code == 0
    before = output.read_bytes(), output.stat().st_mtime_ns
    otherwise, again, dry = upscaled(*same, model="lanczos"), upscaled(*same), upscaled(*same, "--dry-run")
    assert (again.exit_code, dry.exit_code, states(report)) == (0, 0, ["finished before"])
    assert "is finished already" in again.stderr
    assert "is finished already" in dry.stderr
    assert isinstance(otherwise.exception, OutputError)
    assert "exists already, from another slide or other options (model: bicubic, not lanczos" in str(
        otherwise.exception
    )
    assert (output.read_bytes(), output.stat().st_mtime_ns) == before
    mask.unlink()
    assert upscaled(*same).exit_code == 0
    assert mask.exists()


def test_what_was_made_otherwise_is_neither_kept_as_finished_nor_replaced(slides: list[Path], tmp_path: Path) -> None:
    assert upscaled(*slides, "-o", tmp_path / "out").exit_code == 0
    before = (tmp_path / "out" / "a.x2.ome.tif").read_bytes()
    done = upscaled(*slides, "-o", tmp_path / "out", model="lanczos")
    assert done.exit_code == 3
    assert "bicubic, not lanczos" in done.stderr
    assert "bicubic, not bicubic + back-projection" in upscaled(*slides, "-o", tmp_path / "out", "--consistency").stderr
    assert "quality 90, 444, not jpeg, quality 70" in upscaled(*slides, "-o", tmp_path / "out", "--quality", 70).stderr
    assert (tmp_path / "out" / "a.x2.ome.tif").read_bytes() == before
    assert upscaled(*slides, "-o", tmp_path / "out", "--overwrite", model="lanczos").exit_code == 0


def test_a_foreign_file_under_an_outputs_name_is_refused(slides: list[Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    foreign = tmp_path / "out" / "a.x2.ome.tif"
    foreign.write_text("precious")
    assert upscaled(*slides, "-o", tmp_path / "out").exit_code == 3
    assert foreign.read_text() == "precious"
    assert (tmp_path / "out" / "b.x2.ome.tif").exists()


def test_two_slides_of_one_name_are_refused_before_any_work(slides: list[Path], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    namesake = write_tiff(tmp_path / "other" / "a.tif", make_noise(Size(60, 50)), **PITCHED)
    done = upscaled(*slides, namesake, "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert not (tmp_path / "out").exists()


def test_two_slides_of_one_output_are_both_named(slides: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "cohort.csv"
    table.write_text("path,output\na.tif,same\nb.tif,same.x2.ome.tif\n")
    refused = upscaled(table, "-o", tmp_path / "out")
    assert isinstance(refused.exception, OutputError)
    assert f"would be written from {slides[0]} and from {slides[1]}" in str(refused.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("slides")
def test_a_folder_is_its_slides_and_never_its_results(tmp_path: Path) -> None:
    report = tmp_path / "run.json"
    assert upscaled(tmp_path, "--report", report).exit_code == 0
    assert states(report) == ["done", "done"]
    again = upscaled(tmp_path, "--report", report)
    assert again.exit_code == 0
    assert states(report) == ["finished before", "finished before"]
    assert "2 files that wsisr wrote, left out: " in again.stderr
    assert f"2 slides; each result goes beside its slide, the first is {tmp_path / 'a.x2.ome.tif'}" in again.stderr


@pytest.mark.parametrize("output", ["out/", "out", "made"])
def test_one_match_of_a_pattern_behaves_as_two(slides: list[Path], tmp_path: Path, output: str) -> None:
    (tmp_path / "made").mkdir()
    given_output = f"{tmp_path}/{output}"
    assert upscaled(tmp_path / "a*.tif", "-o", given_output).exit_code == 0
    assert upscaled(slides[1], "-o", given_output).exit_code == 0
    assert sorted(path.name for path in Path(given_output).iterdir()) == ["a.x2.ome.tif", "b.x2.ome.tif"]
    assert isinstance(upscaled(tmp_path / "a*.tif", "-o", tmp_path / "one.tif").exception, OutputError)


@pytest.mark.usefixtures("slides")
def test_a_table_gives_pixel_size_case_and_output(tmp_path: Path) -> None:
    table, report = tmp_path / "cohort.csv", tmp_path / "run.json"
    table.write_text("path,mpp,case,output\na.tif,0.4,P1,first\nb.tif,,P2,second.svs\n")
    assert upscaled(table, "-o", tmp_path / "out", "--report", report).exit_code == 0
    first, second = json.loads(report.read_bytes())["slides"]
    assert (first["output"], first["mpp"], first["case"]) == (str(tmp_path / "out" / "first.x2.ome.tif"), 0.2, "P1")
    assert (second["output"], second["mpp"], second["case"]) == (str(tmp_path / "out" / "second.svs"), 0.25, "P2")


@pytest.mark.usefixtures("slides")
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.tif,\na.tif,../../evil.ome.tif", "line 3: output ../../evil.ome.tif is outside "),
        ("a.tif,in/../../evil", "line 2: output in/../../evil is outside "),
        ("a.tif,x.gif", "line 2: "),
        ("a.tif,..", "line 2: output .. is a folder"),
        ("a.tif,same\na.tif,same.x2.ome.tif", "line 2 and "),
    ],
)
def test_an_output_of_a_table_that_cannot_be_meant_is_refused_by_its_line(
    tmp_path: Path, rows: str, message: str
) -> None:
    table = tmp_path / "cohort.csv"
    table.write_text(f"path,output\n{rows}\n")
    refused = upscaled(table, "-o", tmp_path / "out")
    assert isinstance(refused.exception, WsisrError)
    assert f"{table}, {message}" in str(refused.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("slides")
def test_a_pixel_size_of_a_table_before_that_of_the_command_is_said(tmp_path: Path) -> None:
    table = tmp_path / "cohort.csv"
    table.write_text("path,mpp\na.tif,0.4\nb.tif,\n")
    planned = upscaled(table, "-o", tmp_path / "out", "--mpp", "0.5", "--dry-run")
    assert planned.stderr.count("warning: the mpp of the table, not the 0.5 of --mpp, counts for 1 slide;") == 1
    assert "warning: the mpp" not in upscaled(table, "-o", tmp_path / "out", "--dry-run").stderr


def test_copies_are_for_one_slide_at_a_time(tmp_path: Path) -> None:
    refused = upscaled(tmp_path / "none.svs", "--stage", tmp_path, "--jobs", 2)
    assert refused.exit_code == 2
    assert "give --jobs 1" in refused.stderr


def test_a_slide_that_is_given_twice_is_one(slides: list[Path], tmp_path: Path) -> None:
    done = upscaled(*slides, slides[0], "-o", tmp_path / "out", "--report", tmp_path / "run.json")
    assert done.exit_code == 0
    assert states(tmp_path / "run.json") == ["done", "done"]


def test_no_folder_for_many_gets_the_name_of_a_result(slides: list[Path], tmp_path: Path) -> None:
    done = upscaled(*slides, "-o", tmp_path / "one.tif")
    assert isinstance(done.exception, OutputError)
    assert "is a name for one result, not for several slides" in str(done.exception)
    assert not (tmp_path / "one.tif").exists()


def test_a_report_replaces_nothing_but_a_report(slides: list[Path], tmp_path: Path) -> None:
    precious = tmp_path / "thesis.json"
    for content in ("[]", "text", '["wsisr", "slides"]', '"wsisr slides"', '{"wsisr": "0.1.0", "recipe": {}}'):
        precious.write_text(content)
        refused = upscaled(*slides, "--report", precious)
        assert "exists and is no report of wsisr" in str(refused.exception)
        assert precious.read_text() == content
    for _ in range(2):
        assert upscaled(*slides, "--report", tmp_path / "run.json").exit_code == 0


def test_a_report_whose_name_stands_for_another_format_is_refused_first(slides: list[Path], tmp_path: Path) -> None:
    for some in (slides[:1], slides):
        refused = upscaled(*some, "-o", tmp_path / "out/", "--report", tmp_path / "run.pdf")
        assert isinstance(refused.exception, OutputNameError)
        assert "run.pdf: its name must end in .json or .html" in str(refused.exception)
    assert not (tmp_path / "run.pdf").exists()
    assert not list(tmp_path.rglob("*.ome.tif"))


def test_shards_do_not_replace_each_others_report(slides: list[Path], tmp_path: Path) -> None:
    report = tmp_path / "run.json"
    first = (*slides, "--report", report, "--shard", "1/2")
    assert upscaled(*first).exit_code == 0
    before = report.read_bytes()
    refused = upscaled(*slides, "--report", report, "--shard", "2/2")
    assert "is the report of shard 1/2, and this is shard 2/2; give each shard a report of its own" in str(
        refused.exception
    )
    assert report.read_bytes() == before
    assert not slides[1].with_name("b.x2.ome.tif").exists()
    assert upscaled(*first).exit_code == 0
    assert states(report) == ["finished before"]


@pytest.mark.parametrize("exists", [True, False])
def test_of_two_runs_at_a_time_the_first_keeps_the_report(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "run.json"
    if exists:
        RunReport(path).write([])
    first, second = RunReport(path), RunReport(path)
    for report in (first, second):
        report.check_path([])
    first.write([])
    with pytest.raises(
        OutputError, match=r"run.json: the run of \d.* on .* writes it, too, and keeps it; give each run"
    ):
        second.write([])
    first.write([{"state": "done"}])
    assert states(path) == ["done"]


def test_the_report_of_a_stopped_run_tells_where_it_stopped(slides: list[Path], tmp_path: Path) -> None:
    def stopping_at_b(item: BatchItem) -> dict[str, str]:
        if item.slide == slides[1]:
            raise typer.Exit(130)
        return {"state": "done"}

    with pytest.raises(typer.Exit):
        run_batch(run_of(slides, tmp_path / "run.json"), stopping_at_b, Event())
    assert states(tmp_path / "run.json") == ["done", "stopped"]


def test_no_slide_is_begun_after_a_wish_to_stop_that_came_too_late_for_the_one_before(
    slides: list[Path], tmp_path: Path
) -> None:
    stop = Event()

    def done_nevertheless(_item: BatchItem) -> dict[str, str]:
        stop.set()
        return {"state": "done"}

    with pytest.raises(typer.Exit) as left:
        run_batch(run_of(slides, tmp_path / "run.json"), done_nevertheless, stop)
    assert left.value.exit_code == 130
    assert states(tmp_path / "run.json") == ["done", "stopped"]


def test_a_bug_costs_one_slide_and_keeps_its_traceback(
    slides: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def wrong_about_a(item: BatchItem) -> dict[str, str]:
        return {"state": "done"} if item.slide == slides[1] else {"state": str(1 // 0)}

    run_batch(run_of(slides, tmp_path / "run.json"), wrong_about_a, Event())
    assert states(tmp_path / "run.json") == ["failed", "done"]
    said = capfd.readouterr().err
    assert "in wrong_about_a" in said
    assert "a bug of wsisr's, whose traceback is above (ZeroDivisionError: " in said


def test_a_report_that_cannot_be_written_any_more_stops_no_slide(slides: list[Path], tmp_path: Path) -> None:
    report = tmp_path / "gone" / "run.json"
    run = run_of(slides, report)
    run_batch(run, lambda _: {"state": "done"}, Event())
    assert [facts["state"] for facts in run.rows] == ["done", "done"]
    with pytest.raises(OutputError, match=r"run\.json: cannot be written"):
        run.report.write([])


def test_the_report_of_one_slide_tells_of_its_failure(tmp_path: Path) -> None:
    report, bad = tmp_path / "run.json", tmp_path / "bad.tif"
    report.write_text('{"wsisr": "of an earlier run", "slides": []}')
    bad.write_text("dear diary")
    assert upscaled(bad, "-o", tmp_path / "out.tif", "--report", report).exit_code == 1
    assert states(report) == ["failed"]


def test_a_shard_without_slides_has_a_report(slides: list[Path], tmp_path: Path) -> None:
    folder, report = tmp_path / "out", tmp_path / "run.json"
    assert upscaled(*slides, "-o", folder, "--shard", "3/3", "--report", report).exit_code == 0
    assert states(report) == []


def test_the_result_of_another_slide_of_that_name_and_size_is_no_finished_one(
    slides: list[Path], tmp_path: Path
) -> None:
    output, other = tmp_path / "a.out.tif", tmp_path / "other" / "a.tif"
    other.parent.mkdir()
    slides[1].replace(other)
    assert upscaled(slides[0], "-o", output).exit_code == 0
    before = output.read_bytes()
    refused = upscaled(other, "-o", output)
    assert isinstance(refused.exception, OutputError)
    assert "exists already, from another slide or other options (source sha256: " in str(refused.exception)
    assert output.read_bytes() == before


def test_what_shows_holes_is_finished_only_for_who_takes_them(slides: list[Path], tmp_path: Path) -> None:
    output, report, data = tmp_path / "out.tif", tmp_path / "run.json", bytearray(slides[0].read_bytes())
    packed = write_tiff(tmp_path / "packed.tif", make_noise(Size(60, 50)), **PITCHED, compression="zlib")
    data = bytearray(packed.read_bytes())
    with tifffile.TiffFile(packed) as tiff:
        start = tiff.pages.first.dataoffsets[0]
    data[start : start + 40] = bytes(40)
    packed.write_bytes(data)
    taken = (packed, "-o", output, "--report", report, "--on-error", "white")
    assert [upscaled(*taken).exit_code, upscaled(*taken).exit_code] == [3, 3]
    assert states(report) == ["finished before"]
    assert "unreadable" in json.loads(report.read_bytes())["slides"][0]
    refused = upscaled(packed, "-o", output)
    assert isinstance(refused.exception, OutputError)
    assert "could not all be decoded" in str(refused.exception)


def test_what_a_run_left_that_was_killed_at_its_very_end_goes_with_the_next(slides: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "a.out.tif"
    kept = (slides[0], "-o", output, "--keep-work")
    assert upscaled(*kept).exit_code == 0
    left = tmp_path / "a.out.tif.wsisr-part"
    assert upscaled(*kept).exit_code == 0
    assert left.is_dir()
    assert upscaled(slides[0], "-o", output).exit_code == 0
    assert not left.exists()


def test_namesakes_have_work_folders_of_their_own(slides: list[Path], tmp_path: Path) -> None:
    work, other = tmp_path / "work", tmp_path / "other" / "a.tif"
    work.mkdir()
    other.parent.mkdir()
    slides[1].replace(other)
    done = upscaled(slides[0], other, "--work-dir", work, "--keep-work")
    assert done.exit_code == 0
    assert len(list(work.iterdir())) == 2


def run_of(slides: list[Path], report: Path) -> BatchRun:
    return BatchRun([BatchItem(slide, slide.with_suffix(".ome.tif")) for slide in slides], RunReport(report))


def test_a_report_does_not_replace_the_result(slides: list[Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    one, mask, of_many = tmp_path / "one.tif", tmp_path / "mask.png", tmp_path / "out" / "b.x2.ome.tif"
    for refused in (
        upscaled(slides[0], "-o", one, "--report", tmp_path / "out" / ".." / "one.tif"),
        upscaled(slides[0], "-o", one, "--save-mask", mask, "--report", mask),
        upscaled(*slides, "-o", tmp_path / "out", "--report", of_many),
    ):
        assert refused.exit_code == 2
        assert re.search("is to be a result of this run too|is the file of --save-mask too", refused.stderr)
    assert not any(path.exists() for path in (one, mask, of_many))


def test_a_report_that_could_not_be_written_is_refused_before_any_work() -> None:
    with make_readable_folder() as folder, run_as_nobody(), pytest.raises(OutputError, match="permission denied"):
        RunReport(folder / "run.json").check_path([])


def test_one_slide_is_reported_too(slides: list[Path], tmp_path: Path) -> None:
    assert upscaled(slides[0], "--report", tmp_path / "run.json").exit_code == 0
    (facts,) = json.loads((tmp_path / "run.json").read_bytes())["slides"]
    assert (facts["state"], facts["width"], facts["height"], facts["mpp"]) == ("done", 120, 100, 0.25)
    assert (facts["seams"], facts["note"]["source mpp"]) == (None, "0.5")


@given(st.lists(st.integers()), st.integers(1, 9))
def test_all_shards_together_take_every_slide_once(slides: list[int], count: int) -> None:
    taken = [each for number in range(1, count + 1) for each in select_shard(slides, f"{number}/{count}")]
    assert sorted(taken) == sorted(slides)


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "a/b", "-1/3", "1/2/3", ""])
def test_an_impossible_shard_is_wrong_usage(shard: str) -> None:
    with pytest.raises(typer.BadParameter):
        select_shard([1, 2], shard)


def test_what_is_finished_is_found_without_opening_a_slide(slides: list[Path], tmp_path: Path) -> None:
    for slide in slides:
        os.utime(slide, (1_600_000_000, 1_600_000_000))
    folder, report = tmp_path / "out", tmp_path / "run.json"
    assert upscaled(*slides, "-o", folder).exit_code == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wsisr.slides.opening.open_slide", None)
        patch.setattr("wsisr.upscaling.job.open_slide", None)
        again = upscaled(*slides, "-o", folder, "--report", report)
        alone = upscaled(slides[0], "-o", folder / "a.x2.ome.tif")
    assert (again.exit_code, alone.exit_code) == (0, 0)
    assert states(report) == ["finished before", "finished before"]
    assert "2 of 2 slides are finished already" in again.stderr
    assert "is finished already, of the same source and parameters" in alone.stderr


def test_a_report_is_for_programs(slides: list[Path], tmp_path: Path) -> None:
    bad, report = tmp_path / "bad.tif", tmp_path / "run.json"
    bad.write_text("dear diary")
    assert upscaled(*slides, bad, "-o", tmp_path / "out", "--report", report).exit_code == 3
    document = json.loads(report.read_bytes())
    run = document["run"]
    assert (document["schema"], run["exit_code"]) == (2, 3)
    totals = run["totals"]
    assert (totals["slides"], totals["states"]) == (3, {"done": 2, "failed": 1})
    assert totals["pixels"] == 2 * 120 * 100
    assert totals["bytes"] == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert datetime.fromisoformat(run["started"]) <= datetime.fromisoformat(run["written"])
    assert {"host", "command", "versions", "seconds", "folder"} <= set(run)


def test_quiet_keeps_the_table_and_a_log_keeps_everything(slides: list[Path], tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    quiet = upscaled(*slides, "-o", tmp_path / "out", "--log", log, "-q")
    assert quiet.stderr == ""
    assert "2 slides, 0 failed" in quiet.stdout
    lines = log.read_text().splitlines()
    assert all(datetime.fromisoformat(line.split()[0]) for line in lines)
    assert sum(": done in " in line for line in lines) == 2
    assert "2 slides, 0 failed" in log.read_text()
    assert upscaled(*slides, "-o", tmp_path / "out", "--log", log, "-q").exit_code == 0
    assert log.read_text().splitlines()[: len(lines)] == lines
    notes = tmp_path / "notes.txt"
    notes.write_text("dear diary")
    refused = upscaled(*slides, "-o", tmp_path / "out", "--log", notes)
    assert "is no log of wsisr" in str(refused.exception)


def test_totals_are_shown_after_ctrl_c_too(slides: list[Path], tmp_path: Path) -> None:
    def interrupt_at_b(item: BatchItem, *_: object, **__: object) -> dict[str, str]:
        if item.slide == slides[1]:
            raise typer.Exit(130)
        return {"state": "done"}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SlideEnlargement, "__call__", lambda _self, item, **_: interrupt_at_b(item))
        left = upscaled(*slides, "-o", tmp_path / "out", "--report", tmp_path / "run.json")
    assert left.exit_code == 130
    assert "1 done, 1 stopped" in left.stdout
    assert json.loads((tmp_path / "run.json").read_bytes())["run"]["exit_code"] == 130


def test_a_dry_run_is_one_table_and_creates_nothing(slides: list[Path], tmp_path: Path) -> None:
    assert upscaled(slides[0], "-o", tmp_path / "done").exit_code == 0
    bad = tmp_path / "bad.tif"
    bad.write_text("dear diary")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    new = upscaled(
        *slides, bad, "-o", tmp_path / "new", "--dry-run", "--report", tmp_path / "r.json", "--log", tmp_path / "l"
    )
    assert new.exit_code == 3
    assert "2 planned, 0 finished before, 1 refused" in new.stdout
    assert new.stdout.count("dry run") == 1
    results = "".join(line.split("│")[-2].strip() for line in new.stdout.splitlines() if "│" in line)  # long ones fold
    assert str(tmp_path / "new" / "a.x2.ome.tif") in results
    assert f"{bad}:" in results
    assert "are free in" in new.stderr
    half = upscaled(*slides, "-o", tmp_path / "done", "--dry-run")
    assert "1 planned, 1 finished before, 0 refused" in half.stdout
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert isinstance(upscaled(*slides, "-o", tmp_path / "no" / "folder", "--dry-run").exception, OutputError)


def test_results_of_staged_slides_are_the_same_and_name_the_slides(slides: list[Path], tmp_path: Path) -> None:
    stage, report, bad = tmp_path / "fast", tmp_path / "run.json", tmp_path / "bad.tif"
    stage.mkdir()
    bad.write_text("dear diary")
    words = (*slides, bad, "--report", report, "-o")
    assert upscaled(*words, tmp_path / "plain").exit_code == 3
    staged = upscaled(*words, tmp_path / "staged", "--stage", stage)
    assert staged.exit_code == 3
    for name in ("a.x2.ome.tif", "b.x2.ome.tif"):
        assert (tmp_path / "staged" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    rows = json.loads(report.read_bytes())["slides"]
    assert [row["slide"] for row in rows] == [str(slides[0]), str(slides[1]), str(bad)]
    assert str(stage) not in staged.stderr + staged.stdout + json.dumps(rows)
    assert list(stage.iterdir()) == []


def test_no_result_is_made_of_a_copy_whose_slide_has_changed(slides: list[Path], tmp_path: Path) -> None:
    (tmp_path / "fast").mkdir()
    request = UpscaleRequest(slides[0], scale=2, model="bicubic")
    enlargement = SlideEnlargement(request, ParallelResources(1, ("cpu",)), quiet=True)

    def change_and_enlarge(item: BatchItem) -> ReportRow:
        overwrite_in_place(slides[0])
        return enlargement(item, TerminalFrontend())

    item = BatchItem(slides[0], tmp_path / "out.tif")
    with closing(SlideStage(tmp_path / "fast", 10**6, slides[:1])) as stage:
        with pytest.raises(SlideError) as error:
            enlarge_from_stage(item, change_and_enlarge, stage)
        assert str(error.value).startswith(f"{slides[0]}: has changed since it was opened; ")
    assert not item.output.exists()


def test_previews_of_several_slides_lie_in_a_folder(slides: list[Path], tmp_path: Path) -> None:
    words = ["preview", f"{tmp_path}/*.tif", "--region", "0,0,20,20", "--scale", "2", "--model", "bicubic", "-o"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "looks")])
    assert done.exit_code == 0
    pictures = tmp_path / "looks"
    assert sorted(path.name for path in pictures.iterdir()) == [f"{slide.stem}.png" for slide in slides]
    again = CliRunner().invoke(app, [*words, str(pictures)])
    assert again.exit_code == 3
    assert again.stderr.count("exists already") == 2
    refused = CliRunner().invoke(app, [*words, str(tmp_path / "one.png")])
    assert "one.png: is a name for one picture" in str(refused.exception)
    assert not (tmp_path / "one.png").exists()


def put_report(path: Path, **run: object) -> None:
    """Write the report of a run at work, of the process that started this one."""
    facts = {"started": "2026-01-01", "host": socket.gethostname(), "process": os.getppid() or 1, "exit_code": None}
    path.write_text(json.dumps({"wsisr": "1", "slides": [], "run": facts | run}))


def test_the_report_of_a_run_at_work_is_refused_and_any_other_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    for at_work in ({}, {"host": "elsewhere"}):
        put_report(path, **at_work)
        with pytest.raises(OutputError, match=r"run.json: is the report of a run at work, the run of 2026.*remove the"):
            RunReport(path).check_path([])
    put_report(path, host="elsewhere")
    os.utime(path, (0, 0))
    RunReport(path).check_path([])
    # In 1970 no process of this machine had begun: the number is that of another one now.
    put_report(path)
    os.utime(path, (0, 0))
    RunReport(path).check_path([])
    for ended in ({"exit_code": 3}, {"process": 2**22 + 1}, {"process": 2**70}, {"process": "x"}):
        put_report(path, **ended)
        RunReport(path).check_path([])


def test_a_run_whose_report_is_taken_reports_beside_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, report = tmp_path / "run.json", RunReport(tmp_path / "run.json")
    report.write([])
    put_report(path)
    (tmp_path / "run.1.json").write_text("precious")
    taken = path.read_bytes()
    report.try_write([])
    report.write_somewhere([{"state": "done"}], 0)
    assert states(tmp_path / "run.2.json") == ["done"]
    assert (path.read_bytes(), (tmp_path / "run.1.json").read_text()) == (taken, "precious")
    assert capfd.readouterr().err.count("its report is now") == 1


@pytest.mark.parametrize(
    ("count", "stage", "model", "code"),
    [(2, ["--stage", "nowhere"], "bicubic", 2), (1, ["--stage", "nowhere"], "bicubic", 2), (1, [], "nomodel", 2)],
)
def test_a_report_has_the_exit_code_of_an_error(
    slides: list[Path], tmp_path: Path, count: int, stage: list[str], model: str, code: int
) -> None:
    report = tmp_path / "run.json"
    failed = upscaled(*slides[:count], *stage, "--report", report, model=model)
    assert isinstance(failed.exception, WsisrError)
    assert find_error_code(failed.exception) == json.loads(report.read_bytes())["run"]["exit_code"] == code


@pytest.mark.parametrize(
    ("words", "model", "message"),
    [
        ([], "nomodel", "no model is called 'nomodel'"),
        ([], "no.onnx", "no.onnx: no such file"),
        ([], "no.safetensors", "no.safetensors: no such weights file"),
        ([], "masrgan-x4", "--model: masrgan-x4 enlarges by 4, not by 2"),
        (["--tile-px", "100"], "bicubic", "--tile-px: must be a multiple of 128 at scale 2, not 100"),
        (["--perception", "0.5"], "bicubic", "--perception: bicubic has no GAN variant"),
        (["--memory", "0.1"], "bicubic", "--memory: 0.1 GB is too little for any slide"),
        (["--memory", "0.2", "--jobs", "2"], "bicubic", "more than 0.256 for 2 slides at a time"),
        (["--device", "cuda:99"], "masrgan-x2", "--device: cuda:99 is missing"),
        (["--device", "cuda"], "bicubic", "--device: bicubic runs on the CPU only"),
    ],
)
@pytest.mark.parametrize("dry", [False, True])
def test_what_no_slide_can_change_ends_a_batch_before_the_first(
    slides: list[Path], tmp_path: Path, words: list[str], model: str, message: str, dry: bool
) -> None:
    if dry and "--jobs" in words:
        return
    folder, report = tmp_path / "out", tmp_path / "run.json"
    more = ["--dry-run"] if dry else ["--report", report]
    ended = upscaled(*slides, *words, *more, "-o", folder, model=model)
    if isinstance(ended.exception, SystemExit):  # the group has printed it
        assert (ended.exit_code, ended.stderr.count("error: "), message in ended.stderr) == (2, 1, True)
    else:
        assert isinstance(ended.exception, NotFoundError)
        assert message in str(ended.exception)
        assert "error: " not in ended.stderr
    assert ended.stdout == "" or dry
    assert not folder.exists()
    if not dry:
        assert json.loads(report.read_bytes())["run"]["exit_code"] == 2


def test_a_warning_names_its_slide_once(slides: list[Path], tmp_path: Path) -> None:
    log, pale = tmp_path / "run.log", tmp_path / "pale.tif"
    words = ("-o", tmp_path / "out", "--mpp", 15, "--log", log)
    write_tiff(pale, np.full((50, 60, 3), 255, np.uint8), **PITCHED)
    done = upscaled(*slides, pale, *words, "--device", "cpu", model="masrgan-x2")
    for said in (done.stderr, log.read_text()):
        warned = [line for line in said.splitlines() if "warning: " in line]
        assert {name for name in ("a", "b", "pale") for line in warned if f"] {name}.tif: " in line} == {
            "a",
            "b",
            "pale",
        }
        assert all(line.count(".tif") == 1 for line in warned)
