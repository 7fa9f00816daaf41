"""The main job: the command and the library run the same one, and nobody but the command prints."""

from __future__ import annotations

import inspect
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import wsisr
from tests.support.formats import write_leica
from tests.support.samples import make_noise, write_tiff
from wsisr.cli.app import app
from wsisr.cli.upscale import upscale_command
from wsisr.errors import AnnotationError, OptionError, OutputError, SlideError, WsisrError
from wsisr.imaging.geometry import Size
from wsisr.upscaling.estimate import SAMPLED_SLIDES
from wsisr.upscaling.job import JobEvent
from wsisr.upscaling.report import UpscaleReport

PITCHED = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER", "photometric": "rgb", "metadata": None}
"""0.5 um/px."""

Options = dict[str, Any]

BASE: Options = {"scale": 2, "model": "bicubic", "tile_px": 128}

TIMES = ("seconds", "stages", "finished_before")
"""What differs between two runs of one request, besides the output's name."""


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """Noise on the left, glass on the right."""
    pixels = np.full((400, 500, 3), 240, np.uint8)
    pixels[:, :300] = make_noise(Size(300, 400))
    return write_tiff(tmp_path / "slide.tif", pixels, **PITCHED)


def run_command(slide: Path, output: Path, options: Options) -> Result:
    """`wsisr upscale` with options as the library takes them, and a report `OUTPUT.json`."""
    words: list[object] = ["upscale", slide, "-o", output, "--report", f"{output}.json"]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words += [option] * value
        else:
            words += [option, ",".join(map(str, value)) if isinstance(value, tuple) else value]
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(word) for word in words])


def read_command_report(output: Path) -> dict[str, Any]:
    (entry,) = json.loads(Path(f"{output}.json").read_bytes())["slides"]
    return without_times(entry)


def without_times(entry: dict[str, Any]) -> dict[str, Any]:
    same = json.loads(json.dumps(entry))
    return {key: value for key, value in same.items() if key not in (*TIMES, "output")}


def read_files(output: Path) -> dict[str, bytes]:
    """The content of a file, or of all files in a folder."""
    files = sorted(path for path in output.rglob("*") if path.is_file()) if output.is_dir() else [output]
    return {str(path.relative_to(output)): path.read_bytes() for path in files}


def stop_early(events: Iterator[JobEvent]) -> None:
    """Consume a job until a tile is stored, and leave it."""
    next(event for event in events if isinstance(event, wsisr.Advanced))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("plain.ome.tif", {}),
        ("region.svs", {"region": (100, 40, 300, 260)}),
        ("region.tif", {"region_mm": (0.05, 0.02, 0.1, 0.1)}),
        ("target.tif", {"target_mpp": 0.4, "scale": None, "tile_px": 256}),
        ("white.tif", {"background": "white", "codec": "deflate"}),
        ("consistent.tif", {"consistency": True, "quality": 70, "deidentify": True, "overlap_px": 40}),
        ("plain.ome.zarr", {}),
    ],
)
def test_command_and_library_give_the_same_bytes_and_report(
    slide: Path, tmp_path: Path, name: str, changes: Options
) -> None:
    by_command, by_library = tmp_path / "command", tmp_path / "library"
    options = {key: value for key, value in (BASE | changes).items() if value is not None}
    for folder in (by_command, by_library):
        folder.mkdir()
    assert run_command(slide, by_command / name, options).exit_code == 0
    report = wsisr.upscale_slide(slide, output=by_library / name, **options)
    assert read_files(by_command / name) == read_files(by_library / name)
    assert read_command_report(by_command / name) == without_times(report.to_json())
    assert report.state == "done"
    assert report.seconds > 0


def test_a_dry_run_plans_the_same_and_writes_nothing(slide: Path, tmp_path: Path) -> None:
    output, options = tmp_path / "out.tif", BASE | {"dry_run": True}
    before = sorted(tmp_path.iterdir())
    done = run_command(slide, output, options)
    report = wsisr.upscale_slide(str(slide), output=str(output), **options)
    assert sorted(tmp_path.iterdir()) == before
    assert report.state == "planned"
    assert report.estimate is not None
    assert "dry run: nothing was written" in done.stdout
    assert f"{report.size}" in done.stdout


def test_of_many_small_slides_a_dry_run_measures_some_and_of_large_ones_all(tmp_path: Path) -> None:
    flat, noise = np.full((128, 128, 3), 200, np.uint8), make_noise(Size(128, 128))
    wide = make_noise(Size(512, 256))
    pictures = [flat] * SAMPLED_SLIDES + [noise, wide]
    slides = [write_tiff(tmp_path / f"{number}.tif", pixels, **PITCHED) for number, pixels in enumerate(pictures)]
    options = BASE | {"dry_run": True, "quality": 61}  # of a quality that no other test asks for
    estimates = [wsisr.upscale_slide(slide, **options).to_json()["estimate"] for slide in slides]
    *small, like_small, large = [
        round(each["bytes"] / pixels.size, 3) for each, pixels in zip(estimates, pictures, strict=True)
    ]
    assert {like_small} == set(small)
    assert large > 5 * like_small


def test_a_dry_run_foresees_the_work_that_a_stopped_run_left(slide: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    with closing(wsisr.iterate_upscale(slide, output=output, **BASE)) as events:
        next(event for event in events if isinstance(event, wsisr.Advanced) and event.progress.done)
    left = read_files(tmp_path)
    planned = list(wsisr.iterate_upscale(slide, output=output, dry_run=True, **BASE))
    assert any("a stopped run left finished tiles" in event.text for event in planned if isinstance(event, wsisr.Noted))
    with pytest.raises(WsisrError, match="holds the work of a stopped run with model bicubic, now lanczos"):
        wsisr.upscale_slide(slide, output=output, dry_run=True, **BASE | {"model": "lanczos"})
    assert wsisr.upscale_slide(slide, output=output, dry_run=True, overwrite=True, **BASE).state == "planned"
    assert read_files(tmp_path) == left


def test_a_slide_that_wsisr_wrote_is_refused_by_both_alike(slide: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once.tif", tmp_path / "twice.tif"
    wsisr.upscale_slide(slide, output=once, **BASE)
    refused = run_command(once, twice, BASE)
    with pytest.raises(SlideError) as error:
        wsisr.upscale_slide(once, output=twice, **BASE)
    assert str(refused.exception) == str(error.value)
    assert not twice.exists()
    assert wsisr.upscale_slide(once, output=twice, allow_derived=True, **BASE).state == "done"


@pytest.mark.parametrize("resumed_by", ["command", "library"])
def test_both_resume_what_the_library_was_stopped_at(slide: Path, tmp_path: Path, resumed_by: str) -> None:
    whole, output = tmp_path / "whole.tif", tmp_path / "out.tif"
    report = wsisr.upscale_slide(slide, output=whole, **BASE)
    with closing(wsisr.iterate_upscale(slide, output=output, **BASE)) as events:
        stop_early(events)
    assert not output.exists()
    if resumed_by == "command":
        assert run_command(slide, output, BASE).exit_code == 0
        (entry,) = json.loads(Path(f"{output}.json").read_bytes())["slides"]
    else:
        entry = wsisr.upscale_slide(slide, output=output, **BASE).to_json()
    assert 0 < entry["finished_before"] < 1
    assert output.read_bytes() == whole.read_bytes()
    assert without_times(entry) == without_times(report.to_json())


def test_what_is_finished_is_left_alone_by_both(slide: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    assert run_command(slide, output, BASE).exit_code == 0
    before = output.read_bytes(), output.stat().st_mtime_ns
    report = wsisr.upscale_slide(slide, output=output, **BASE)
    assert run_command(slide, output, BASE).exit_code == 0
    assert read_command_report(output) == without_times(report.to_json())
    assert (report.state, report.metadata["model"]) == ("finished before", "bicubic")
    assert (output.read_bytes(), output.stat().st_mtime_ns) == before
    with pytest.raises(OutputError, match="other options"):
        wsisr.upscale_slide(slide, output=output, **BASE | {"model": "lanczos"})


def test_both_name_the_output_alike(slide: Path) -> None:
    report = wsisr.upscale_slide(slide, dry_run=True, **BASE)
    assert report.output == slide.with_name("slide.x2.ome.tif")
    assert str(report.output) in CliRunner().invoke(app, ["upscale", str(slide), "--scale", "2", "--dry-run"]).output


def test_command_and_library_have_the_same_options_and_defaults() -> None:
    of_command = {name: option.default for name, option in inspect.signature(upscale_command).parameters.items()}
    for name in ("verify", "guard"):
        of_command[name] = not of_command.pop(f"no_{name}")
    for name in (
        "context",
        "slides",
        "_config",
        "print_config",
        "jobs",
        "shard",
        "cluster",
        "workers",
        "allow_mixed_workers",
        "report",
        "log",
        "stage",
        "stage_limit",
        "quiet",
    ):
        del of_command[name]
    of_request = {field.name: field.default for field in fields(wsisr.UpscaleRequest) if field.default is not MISSING}
    assert of_command == of_request


def test_both_calls_take_the_fields_of_a_request() -> None:
    of_request = inspect.signature(wsisr.UpscaleRequest).parameters
    for function in (wsisr.upscale_slide, wsisr.iterate_upscale):
        assert inspect.signature(function).parameters == of_request


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": 3},
        {"scale": 2, "target_mpp": 0.25},
        {"scale": 2, "level": 0, "source_mpp": 1.0},
        {"scale": 2, "region": (0, 0, 9)},
        {"scale": 2, "region_mm": (0, 0, float("inf"), 1)},
        {"scale": 2, "codec": "png"},
        {"scale": 2, "quality": 0},
        {"scale": 2, "perception": 1.5},
        {"scale": 2, "device": "tpu"},
        {"scale": 2, "keep_label": True, "deidentify": True, "output": "out.svs"},
    ],
)
def test_options_that_cannot_be_are_refused_before_the_slide_is_opened(options: Options) -> None:
    with pytest.raises(OptionError):
        wsisr.upscale_slide("gone.svs", **options)


def test_a_name_that_no_layout_has_is_refused(slide: Path) -> None:
    with pytest.raises(OutputError, match=r"out\.bmp: its name must end in \.tif"):
        wsisr.upscale_slide(slide, output="out.bmp", **BASE)


def test_events_come_in_order_and_the_report_last(slide: Path, tmp_path: Path) -> None:
    output, mask = tmp_path / "out.tif", tmp_path / "mask.png"
    events = wsisr.iterate_upscale(slide, output=output, save_mask=mask, **BASE)
    assert not list(tmp_path.glob("out*"))  # nothing happens before the first event
    kinds = [type(event) for event in events]
    assert kinds[0] is wsisr.Started
    assert kinds[-2:] == [wsisr.MaskSaved, wsisr.Finished]
    assert set(kinds[1:-2]) == {wsisr.Advanced}
    assert output.exists()
    assert mask.exists()


def test_warnings_are_events_and_stand_in_the_report(tmp_path: Path) -> None:
    slide = write_tiff(tmp_path / "slide.tif", make_noise(Size(200, 200)), **PITCHED)
    options: Options = {"scale": 2, "model": "bicubic", "mpp": 0.3}
    events = list(wsisr.iterate_upscale(slide, output=tmp_path / "a.tif", **options))
    texts = tuple(event.text for event in events if isinstance(event, wsisr.Warned))
    assert isinstance(events[-1], wsisr.Finished)
    assert events[-1].report.warnings == texts
    assert [text for text in texts if "0.3" in text]


def test_the_library_prints_nothing_and_leaves_signals_alone(
    slide: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    for event in wsisr.iterate_upscale(slide, output=tmp_path / "out.tif", **BASE):
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers, event
    assert capfd.readouterr() == ("", "")


def test_the_job_runs_in_a_thread(slide: Path, tmp_path: Path) -> None:
    reports: list[UpscaleReport] = []

    def work() -> None:
        reports.append(wsisr.upscale_slide(slide, output=tmp_path / "thread.tif", **BASE))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    wsisr.upscale_slide(slide, output=tmp_path / "main.tif", **BASE)
    assert [report.state for report in reports] == ["done"]
    assert (tmp_path / "thread.tif").read_bytes() == (tmp_path / "main.tif").read_bytes()


def test_a_script_needs_no_main_guard_and_no_terminal(slide: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    call = f"wsisr.upscale_slide({str(slide)!r}, output={str(tmp_path / 'out.tif')!r}, scale=2, model='bicubic')"
    script.write_text(f"import wsisr\nprint({call}.state)\n")
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_an_error_is_the_same_line_in_both(slide: Path, tmp_path: Path) -> None:
    options = BASE | {"level": 7}
    refused = run_command(slide, tmp_path / "out.tif", options)
    with pytest.raises(WsisrError) as error:
        wsisr.upscale_slide(slide, output=tmp_path / "out.tif", **options)
    assert isinstance(refused.exception, WsisrError)
    assert str(refused.exception) == str(error.value)


def test_the_rate_counts_only_what_this_run_made() -> None:
    report = UpscaleReport(
        Path("a.svs"),
        Path("a.tif"),
        "done",
        model="bicubic",
        hardware="cpu",
        size=Size(4000, 1000),
        mpp=0.25,
        skipped_share=0,
        tile_px=256,
        overlap_overhead=0,
        seconds=10,
        finished_before=0.75,
    )
    assert report.rate == 0.1


def test_marks_that_leave_nothing_to_enlarge_are_a_warning(slide: Path, tmp_path: Path) -> None:
    marks = {"type": "Polygon", "coordinates": [[[0, 0], [40, 0], [40, 40], [0, 40]]]}
    (tmp_path / "a.geojson").write_text(json.dumps(marks))
    options = BASE | {"tissue": tmp_path / "a.geojson", "background": "white"}
    for region, count in (((300, 200, 100, 100), 1), ((0, 0, 100, 100), 0)):
        report = wsisr.upscale_slide(slide, output=tmp_path / f"{region[0]}.ome.tif", region=region, **options)
        found = [text for text in report.warnings if "marks no tissue" in text]
        assert len(found) == count
        assert all("so the result is all white: " in text for text in found)


@pytest.mark.parametrize(("left", "is_empty"), [(1400, True), (200, False)])
def test_a_region_in_which_no_tissue_was_found_is_a_warning(tmp_path: Path, left: int, is_empty: bool) -> None:
    pixels = np.full((400, 1600, 3), 240, np.uint8)
    pixels[:, :300] = make_noise(Size(300, 400))
    slide = write_tiff(tmp_path / "slide.tif", pixels, **PITCHED)
    options = BASE | {"background": "white", "region": (left, 0, 150, 150)}
    report = wsisr.upscale_slide(slide, output=tmp_path / "a.tif", **options)
    words = "no tissue was found in what is enlarged, so the result is all white"
    assert any(words in warning for warning in report.warnings) == is_empty == report.lacks_tissue


@pytest.mark.parametrize(("origin", "corner"), [("canvas", 40), ("bounds", 60)])
def test_marks_count_from_where_the_request_says(tmp_path: Path, origin: str, corner: int) -> None:
    levels = [np.full((256, 256, 3), 180, np.uint8), np.full((128, 128, 3), 180, np.uint8)]
    slide = write_leica(tmp_path / "a.scn", levels)
    marks = {"type": "Polygon", "coordinates": [[[40, 40], [80, 40], [80, 80], [40, 80]]]}
    (tmp_path / "a.geojson").write_text(json.dumps(marks))
    options = BASE | {"tissue": tmp_path / "a.geojson", "output": tmp_path / "a.ome.tif"}
    with pytest.raises(AnnotationError, match="say which with --tissue-origin"):
        wsisr.upscale_slide(slide, **options)
    wsisr.upscale_slide(slide, tissue_origin=origin, save_mask=tmp_path / "mask.png", **options)
    rows, columns = np.nonzero(np.asarray(Image.open(tmp_path / "mask.png")))
    assert (rows.min() * 4, columns.min() * 4) == (corner, corner)


def test_a_result_in_another_precision_is_not_what_was_requested(cmu_slide: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"scale": 2, "region": (900, 1200, 64, 64), "output": tmp_path / "a.tif"}
    wsisr.upscale_slide(cmu_slide, **options, precision="fp32")
    wsisr.upscale_slide(cmu_slide, **options, precision="fp32")  # is finished already
    with pytest.raises(OutputError, match=r"exists already.*computed: on cpu in fp32, not on cpu in bf16"):
        wsisr.upscale_slide(cmu_slide, **options, precision="bf16")


def test_the_library_replaces_no_scan_and_no_mask_that_is_given(slide: Path, tmp_path: Path) -> None:
    mask, scan = tmp_path / "mask.png", write_tiff(tmp_path / "scan.tif", make_noise(Size(60, 50)), **PITCHED)
    Image.new("L", (50, 40), 255).save(mask)
    before = mask.read_bytes(), scan.read_bytes()
    for options, words in (
        ({"output": scan}, "wsisr did not write it"),
        ({"save_mask": mask, "tissue": mask}, "is the mask that tissue is taken from"),
        ({"work_dir": tmp_path / "none", "dry_run": True}, "no folder for work in progress"),
    ):
        with pytest.raises(OutputError, match=words):
            wsisr.upscale_slide(slide, **(BASE | {"output": tmp_path / "out.tif", "overwrite": True} | options))
    assert (mask.read_bytes(), scan.read_bytes()) == before
