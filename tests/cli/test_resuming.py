"""`wsisr upscale` again after a stop: another slide or setting is told and refused, what shows nowhere may change."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import tifffile
from PIL import Image, ImageCms
from typer.testing import CliRunner, Result

from tests.support.disks import limit_file_size
from tests.support.samples import make_noise, write_tiff
from wsisr.cli.app import app
from wsisr.errors import OutputError
from wsisr.imaging.geometry import Size
from wsisr.writing import read_metadata

BASE = {"--scale": "2", "--model": "bicubic", "--tile-px": "128"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A slide, a mask for it, and an upscaling of it that a full disk has stopped."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pitch = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER", "iccprofile": profile}
    write_tiff(tmp_path / "slide.tif", make_noise(Size(500, 400)), **pitch)
    mask = Image.new("L", (10, 8))
    mask.paste(255, (0, 0, 2, 2))
    mask.save(tmp_path / "mask.png")
    with limit_file_size(200_000):
        assert isinstance(run(tmp_path, {}).exception, OutputError)
    return tmp_path


def run(folder: Path, changes: dict[str, str]) -> Result:
    options = [word for pair in (BASE | changes).items() for word in pair if word]
    return CliRunner().invoke(app, ["upscale", str(folder / "slide.tif"), "-o", str(folder / "out.tif"), *options])


CHANGES = [
    ("codec", {"--quality": "80"}),
    ("codec", {"--subsampling": "420"}),
    ("codec", {"--codec": "deflate", "--accept-limited-viewers": ""}),
    ("colour", {"--icc": "srgb"}),
    ("model bicubic, now lanczos", {"--model": "lanczos"}),
    ("scale 2, now 4", {"--scale": "4"}),
    ("source part", {"--region": "0,0,400,400"}),
    ("source factor", {"--source-mpp": "0.6"}),
    ("0.25 um/px", {"--mpp": "0.4"}),
    ("background", {"--tissue": "MASK"}),
    ("background", {"--tissue": "MASK", "--background": "white"}),
    ("tiling", {"--overlap-px": "2"}),
]
"""What is said to differ, and the option that does."""


def test_whatever_shows_is_told_and_refused_and_the_same_command_goes_on(folder: Path) -> None:
    for words, changes in CHANGES:
        given = {name: value.replace("MASK", str(folder / "mask.png")) for name, value in changes.items()}
        refused = run(folder, given)
        assert isinstance(refused.exception, OutputError), (changes, refused.output)
        told = str(refused.exception)
        assert words in told
        assert "repeat the command of that run, or start again with --overwrite" in told
    assert run(folder, {}).exit_code == 0


def test_a_slide_of_another_date_is_told_and_refused(folder: Path) -> None:
    os.utime(folder / "slide.tif", ns=(1, 1))
    assert "slide (path, age and size)" in str(run(folder, {}).exception)


@pytest.mark.parametrize(
    "changes",
    [
        {"--tile-px": "256"},
        {"--batch": "3"},
        {"--on-error": "white"},
        {"--overlap-px": "40"},
        {"--keep-work": ""},
        {"--layout": "aperio"},
        {"--tissue": "none"},
        {"--background": "white"},
    ],
)
def test_what_shows_nowhere_may_change(folder: Path, changes: dict[str, str]) -> None:
    assert run(folder, changes).exit_code == 0
    content = (folder / "out.tif").read_bytes()
    (folder / "out.tif").unlink()
    layout = {name: value for name, value in changes.items() if name == "--layout"}
    assert run(folder, layout | {"--overwrite": ""}).exit_code == 0
    assert content == (folder / "out.tif").read_bytes()


def test_a_run_that_goes_on_says_from_where_and_rates_only_itself(folder: Path) -> None:
    report = {"--report": str(folder / "run.json")}
    done = run(folder, report)
    (facts,) = json.loads((folder / "run.json").read_bytes())["slides"]
    share = facts["finished_before"]
    assert 0 < share < 1
    assert f"goes on from {100 * share:.0f} % that an earlier run finished" in " ".join(done.stderr.split())
    assert f"after {100 * share:.0f} % that an earlier run had finished" in done.stdout
    fresh = run(folder, report | {"--overwrite": ""})
    assert "earlier run" not in fresh.stderr + fresh.stdout
    assert json.loads((folder / "run.json").read_bytes())["slides"][0]["finished_before"] == 0


@pytest.mark.parametrize("loss", ["removed", "damaged"])
def test_white_places_stay_in_report_and_exit_code_where_a_stopped_runs_log_is_lost(tmp_path: Path, loss: str) -> None:
    slide = write_tiff(tmp_path / "slide.tif", make_noise(Size(500, 400)), tile=(128, 128), compression="zlib")
    with tifffile.TiffFile(slide) as tiff:
        offset = tiff.pages.first.dataoffsets[0]
    content = bytearray(slide.read_bytes())
    content[offset : offset + 1000] = bytes(1000)
    slide.write_bytes(content)
    options = {"--mpp": "0.5", "--on-error": "white", "--report": str(tmp_path / "run.json")}
    with limit_file_size(400_000):
        assert isinstance(run(tmp_path, options).exception, OutputError)
    log = tmp_path / "out.tif.wsisr-part" / "diary"
    assert b"hole" in log.read_bytes()
    if loss == "removed":
        log.unlink()
    else:
        log.write_bytes(log.read_bytes().replace(b"hole", b"HOLE"))
    assert run(tmp_path, options).exit_code == 3
    (row,) = json.loads((tmp_path / "run.json").read_bytes())["slides"]
    assert row["unreadable"] == read_metadata(tmp_path / "out.tif")["unreadable"] != ""


def test_a_run_that_was_stopped_before_its_last_step_says_so_too(folder: Path) -> None:
    done = run(folder, {"--keep-work": ""})
    assert done.exit_code == 0
    (folder / "out.tif").unlink()
    assert "goes on from 100 %" in run(folder, {}).stderr
