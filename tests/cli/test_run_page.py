"""The page of a run: it tells what the JSON report tells, runs no script, and costs no slide."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.reports.elements import Elements
from tests.support.pairs import write_slide
from wsisr.cli.app import app
from wsisr.cli.report_format import decode_report
from wsisr.cli.run_page import RunPage
from wsisr.cli.run_report import RunReport, read_run_of_report, sum_rows
from wsisr.errors import OutputError
from wsisr.upscaling.request import UpscaleRequest

HOSTILE = "<img src=x onerror=alert(1)>\"'.tif"


def run_upscale(*arguments: object) -> Result:
    words = ["upscale", *map(str, arguments), "--scale", "2", "--model", "bicubic", "--quiet"]
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, words)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of three slides: one has a name of markup, one is no slide."""
    folder = tmp_path_factory.mktemp("batch")
    slides = [write_slide(folder / "plain.tif"), write_slide(folder / HOSTILE, seed=1), folder / "bad.tif"]
    slides[2].write_text("<script>alert(2)</script>")
    assert run_upscale(*slides, "-o", folder / "out", "--report", folder / "run.html").exit_code == 3
    return folder / "run.html"


def read_page(path: Path) -> Elements:
    return Elements(path.read_text(encoding="utf-8"))


def test_the_page_shows_every_slide_and_the_totals(batch: Path) -> None:
    page = read_page(batch)
    assert {"plain.tif", HOSTILE, "bad.tif"} <= {name.strip() for name in page.texts("h3")}
    assert "2 done, 1 failed" in page.texts("td")
    assert len(page.named("article")) == 3
    names = [each["alt"] for each in page.named("img")]
    assert names[:3] == ["T1, before: the input", "T1, bicubic", "T1, after: the result"]
    assert names.count("T1, bicubic") == 2
    assert {each["href"] for each in page.named("a")} >= {"#slide-0", "#slide-1", "#slide-2"}


def test_a_name_of_markup_stays_text_and_nothing_is_loaded_from_elsewhere(batch: Path) -> None:
    page = read_page(batch)
    assert not page.named("script")
    assert all(not name.startswith("on") for _, attributes in page.found for name in attributes)
    sources = [each.get("src") or each["href"] for tag in ("img", "image") for each in page.named(tag)]
    assert sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert page.named("meta")[1]["content"].startswith("default-src 'none'")


def test_the_page_holds_the_methods_paragraph_that_info_prints(batch: Path) -> None:
    result = batch.parent / "out" / "plain.x2.ome.tif"
    shown = CliRunner().invoke(app, ["info", "--methods", str(result)])
    assert shown.exit_code == 0
    assert shown.stdout.strip() in read_page(batch).text
    slide = batch.parent / "plain.tif"
    refused = CliRunner().invoke(app, ["info", "--methods", str(slide)])
    assert "wsisr did not write it" in str(refused.exception)


def test_a_page_is_known_as_the_report_of_its_run(batch: Path) -> None:
    identity = read_run_of_report(batch)
    assert identity is not None
    assert {"started", "host", "process", "shard"} == identity.keys()
    report = decode_report(batch.read_bytes())
    assert report is not None
    assert report["run"]["exit_code"] == 3


def test_a_page_replaces_nothing_but_a_report(tmp_path: Path) -> None:
    slide, report = write_slide(tmp_path / "a.tif"), tmp_path / "run.html"
    for content in ("<!doctype html><title>thesis</title>", '<meta name="wsisr-report" content="[]">', "text"):
        report.write_text(content)
        refused = run_upscale(slide, "--report", report)
        assert "exists and is no report of wsisr" in str(refused.exception)
        assert report.read_text() == content
    report.unlink()
    for state in ("done", "finished before"):
        assert run_upscale(slide, "--report", report).exit_code == 0
        assert state in read_page(report).texts("span")
        assert read_page(report).named("img")


def test_a_result_that_is_gone_costs_its_pictures_only(tmp_path: Path) -> None:
    slide, report = write_slide(tmp_path / "a.tif"), tmp_path / "run.json"
    assert run_upscale(slide, "--report", report).exit_code == 0
    document, request = json.loads(report.read_bytes()), UpscaleRequest(slide, scale=2, model="bicubic")
    (tmp_path / "a.x2.ome.tif").unlink()
    row = document["slides"][0] | {"no_tissue": True, "warnings": ["look here", "look here"]}
    for requests, words in (({}, "This page was written without pictures."), ({row["output"]: request}, "no pictures")):
        page = Elements(RunPage(requests).render(document | {"slides": [row]}).decode())
        assert not page.named("img")
        assert words in page.text
        assert page.text.count("look here") == 1
        assert "nothing of the result is a network's work" in page.text


def test_slides_that_were_finished_before_are_drawn_when_the_run_is_over(tmp_path: Path) -> None:
    slide, report = write_slide(tmp_path / "a.tif"), tmp_path / "run.json"
    for _ in range(2):
        assert run_upscale(slide, "--report", report).exit_code == 0
    document = json.loads(report.read_bytes())
    page = RunPage({document["slides"][0]["output"]: UpscaleRequest(slide, scale=2, model="bicubic")})
    at_work = document | {"run": document["run"] | {"exit_code": None}}
    assert "follow when the run is over" in page.render(at_work).decode()
    assert Elements(page.render(document).decode()).named("img")


def test_a_network_s_statement_is_shown_unless_all_results_are_known_to_have_none(batch: Path) -> None:
    assert "by plain resampling, which adds no detail" in read_page(batch).text
    run = {"totals": sum_rows([], 1), "versions": {}, "exit_code": 1, "configuration": {}, "command": ["wsisr"]}
    run |= {"folder": "", "started": "", "written": "", "host": "", "seconds": 1.0}
    failed = {"slide": "a.svs", "output": "a.x2.ome.tif", "state": "failed", "error": "no slide"}
    for rows in ([], [failed]):
        page = RunPage({}).render({"wsisr": "1", "schema": 2, "run": run, "slides": rows}).decode()
        assert "are an estimate, not an observation" in page


def test_a_bug_in_drawing_is_an_error_of_the_report_only(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"run.html: cannot be drawn, by a bug of wsisr's \(KeyError"):
        RunReport(tmp_path / "run.html").write([{"state": "done"}])
    assert not (tmp_path / "run.html").exists()


def test_of_a_file_that_is_no_report_only_the_head_is_read(tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    with path.open("wb") as file:
        file.write(b"II*")
        file.truncate(1 << 40)  # a hole: what reads it whole runs out of memory
    with pytest.raises(OutputError, match="exists and is no report of wsisr"):
        read_run_of_report(path)
