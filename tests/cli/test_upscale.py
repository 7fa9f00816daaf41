"""`wsisr upscale` and `wsisr preview` as a person runs them: one clear line for what cannot be done."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image, ImageCms

from tests.support.command_line import Finished, run_wsisr, run_wsisr_as_process
from tests.support.samples import make_noise, write_tiff
from wsisr.cli.exit_codes import EXIT_FAILED, EXIT_USAGE
from wsisr.imaging.geometry import Size
from wsisr.slides import open_slide
from wsisr.upscaling.provenance import DERIVED_WARNING
from wsisr.writing import PyramidSpec, PyramidWriter, read_metadata

PITCHED = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER", "photometric": "rgb", "metadata": None}
"""0.5 um/px."""


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return write_tiff(tmp_path / "slide.tif", make_noise(Size(300, 200)), **PITCHED)


def refused(done: Finished, *words: str, code: int = EXIT_FAILED) -> None:
    """One line on stderr, besides that which names the output, and an exit code."""
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if " is to be " not in line]
    assert len(lines) == 1
    assert lines[0].startswith("wsisr: error: ")
    assert [word for word in words if word not in lines[0]] == []


def upscaled(slide: Path, output: Path, *more: object, scale: int = 2) -> Finished:
    return run_wsisr("upscale", slide, "--scale", scale, "--model", "bicubic", "-o", output, *more)


def test_the_default_output_lies_beside_the_slide(slide: Path) -> None:
    done = run_wsisr_as_process("upscale", slide, "--scale", 2, "--model", "bicubic")
    assert done.returncode == 0, done.stderr
    with tifffile.TiffFile(slide.with_name("slide.x2.ome.tif")) as tiff:
        assert tiff.pages[0].shape == (400, 600, 3)
    assert "300 x 200 px to 600 x 400 px" in done.stdout
    assert "0.5 um/px to 0.25 um/px" in done.stdout
    assert "none, for the result is one tile" in done.stdout
    assert "shrunk again, it is its input within" in " ".join(done.stdout.replace("│", " ").split())


def test_quiet_says_nothing(slide: Path, tmp_path: Path) -> None:
    words = ("upscale", slide, "--scale", 2, "--model", "bicubic", "-o", tmp_path / "out.tif", "--quiet")
    done = run_wsisr_as_process(*words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_dry_run_writes_nothing_and_says_what_would_be(slide: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    done = upscaled(slide, tmp_path / "out.tif", "--dry-run", "--tile-px", 128)
    assert done.returncode == 0, done.stderr
    assert sorted(tmp_path.iterdir()) == before
    assert "6 of 128 px" in done.stdout
    assert "while running" in done.stdout


def test_a_source_pitch_shrinks_before_it_enlarges(slide: Path, tmp_path: Path) -> None:
    done = upscaled(slide, tmp_path / "out.tif", "--source-mpp", 1.0)
    assert done.returncode == 0, done.stderr
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert tiff.pages[0].shape == (200, 300, 3)
    assert read_metadata(tmp_path / "out.tif")["source mpp"] == "1"


def test_a_region_is_written_with_its_place_on_the_slide(slide: Path, tmp_path: Path) -> None:
    for option, region in (("--region", "100,40,60,50"), ("--region-mm", "0.05,0.02,0.03,0.025")):
        output = tmp_path / f"out{option}.tif"
        assert upscaled(slide, output, option, region).returncode == 0
        with tifffile.TiffFile(output) as tiff:
            assert tiff.pages[0].shape == (100, 120, 3)
        assert read_metadata(output)["source origin"] == "100, 40 px of level 0"
        assert "100, 40 px of level 0" in run_wsisr("info", output).stdout


def test_a_target_as_coarse_as_the_slide_needs_no_network_and_says_so(slide: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    done = run_wsisr("upscale", slide, "--target-mpp", 1, "-o", output)
    assert done.returncode == 0, done.stderr
    assert "wsisr: no network" in done.stderr
    assert "0.5 um/px to 1 um/px" in done.stdout
    assert read_metadata(output)["source pitch"] == "recorded, 0.5 um/px before resampling"
    assert "no network" in read_metadata(output)["source remarks"]
    assert "no detail was added" in read_metadata(output)["derived"]


def test_what_wsisr_wrote_is_enlarged_again_only_if_asked(slide: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once.tif", tmp_path / "twice.tif"
    assert upscaled(slide, once).returncode == 0
    refused(upscaled(once, twice), str(once), "--allow-derived")
    done = upscaled(once, twice, "--allow-derived")
    assert done.returncode == 0, done.stderr
    assert f"wsisr: warning: {DERIVED_WARNING}" in done.stderr
    assert DERIVED_WARNING in read_metadata(twice)["source remarks"]


def test_a_preview_calls_no_result_of_wsisr_a_scan(slide: Path, tmp_path: Path) -> None:
    once, picture = tmp_path / "once.tif", tmp_path / "look.png"
    assert upscaled(slide, once).returncode == 0
    command = ("preview", once, "--region", "0,0,64,64", "--model", "bicubic", "--scale", 2, "-o", picture)
    refused(run_wsisr(*command), str(once), "--allow-derived")
    assert not picture.exists()
    assert run_wsisr(*command, "--allow-derived").returncode == 0
    assert picture.exists()


def test_the_day_of_the_scan_is_left_out_if_asked(tmp_path: Path) -> None:
    slide = write_tiff(tmp_path / "slide.tif", make_noise(Size(60, 50)), datetime="2009:12:29 09:59:15", **PITCHED)
    for option, day in (("--quiet", "2009-12-29"), ("--deidentify", None)):
        output = tmp_path / f"out{option}.tif"
        assert upscaled(slide, output, option).returncode == 0
        assert read_metadata(output).get("scan date") == day


def test_a_label_is_copied_only_if_asked_and_only_where_it_has_a_place(cmu_slide: Path, tmp_path: Path) -> None:
    region = ("--region", "0,0,300,200")
    done = upscaled(cmu_slide, tmp_path / "out.svs", "--keep-label", "--keep-macro", *region)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is copied; look whether it shows names") == 2
    with openslide.OpenSlide(tmp_path / "out.svs") as slide:
        assert slide.associated_images["macro"].size == (1280, 431)
        assert slide.associated_images["label"].size == (420, 463 + 420)
    limited = upscaled(cmu_slide, tmp_path / "out.tif", "--keep-label", *region)
    refused(limited, "cuCIM", "--accept-limited-viewers", code=EXIT_USAGE)
    refused(upscaled(cmu_slide, tmp_path / "out.ome.zarr", "--keep-label", *region), "no place", code=EXIT_USAGE)
    assert upscaled(cmu_slide, tmp_path / "a.svs", "--keep-label", "--deidentify", *region).returncode == 2


def test_a_slide_without_a_label_has_none_to_keep(slide: Path, tmp_path: Path) -> None:
    refused(upscaled(slide, tmp_path / "out.svs", "--keep-label"), str(slide), "no label image")


def test_colours_are_converted_by_the_profile_or_kept_with_it(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    slide = write_tiff(tmp_path / "slide.tif", make_noise(Size(60, 50)), iccprofile=profile, **PITCHED)
    stored = {}
    for icc in ("keep", "srgb"):
        assert upscaled(slide, tmp_path / f"{icc}.tif", "--icc", icc).returncode == 0
        with tifffile.TiffFile(tmp_path / f"{icc}.tif") as tiff:
            stored[icc] = 34675 in tiff.pages.first.tags
    assert stored == {"keep": True, "srgb": False}
    assert "to sRGB" in read_metadata(tmp_path / "srgb.tif")["source colours"]


def test_a_slide_without_profile_cannot_be_converted(slide: Path, tmp_path: Path) -> None:
    refused(upscaled(slide, tmp_path / "out.tif", "--icc", "srgb"), str(slide), "no ICC profile")


def test_a_slide_without_pitch_needs_one(tmp_path: Path) -> None:
    slide = write_tiff(tmp_path / "slide.tif", make_noise(Size(60, 50)), photometric="rgb", metadata=None)
    refused(upscaled(slide, tmp_path / "out.tif"), str(slide), "not recorded", "--mpp")
    assert upscaled(slide, tmp_path / "out.tif", "--mpp", 0.5).returncode == 0


@pytest.mark.parametrize("name", ["out.svs", "out.ome.tif"])
def test_a_corrected_pitch_and_the_magnification_of_a_result_agree(cmu_slide: Path, tmp_path: Path, name: str) -> None:
    output = tmp_path / name
    assert upscaled(cmu_slide, output, "--mpp", 1.0, "--region", "900,900,90,90").returncode == 0
    with open_slide(output) as result:
        assert result.info.mpp == pytest.approx(0.5)
        assert result.info.objective == 20
        assert result.info.warnings == ()


def test_an_output_that_exists_is_kept_unless_asked(slide: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    output.write_text("precious")
    refused(upscaled(slide, output), str(output), "exists", "--overwrite")
    assert output.read_text() == "precious"
    assert upscaled(slide, output, "--overwrite").returncode == 0


def test_a_text_file_is_no_slide(tmp_path: Path) -> None:
    slide = tmp_path / "notes.svs"
    slide.write_text("dear diary")
    refused(upscaled(slide, tmp_path / "out.tif"), str(slide))
    assert list(tmp_path.iterdir()) == [slide]


def test_a_missing_slide_is_named(tmp_path: Path) -> None:
    refused(upscaled(tmp_path / "gone.svs", tmp_path / "out.tif"), "gone.svs", code=EXIT_USAGE)


def test_a_truncated_slide_leaves_no_output(cmu_slide: Path, tmp_path: Path) -> None:
    slide = tmp_path / "cut.svs"
    whole = cmu_slide.read_bytes()
    # The directory of an SVS lies behind its pixels: zeros in the middle damage tiles, not the directory.
    slide.write_bytes(whole[:400_000] + bytes(600_000) + whole[1_000_000:])
    refused(upscaled(slide, tmp_path / "out.tif", "--quiet"), "cut.svs", "level 0", "decoded")
    assert not (tmp_path / "out.tif").exists()
    slide.write_bytes(whole[:400_000])
    refused(upscaled(slide, tmp_path / "out.tif"), "cut.svs")


def test_an_undecodable_place_is_white_where_asked_and_told_everywhere(cmu_slide: Path, tmp_path: Path) -> None:
    slide, output, report = tmp_path / "cut.svs", tmp_path / "out.tif", tmp_path / "run.json"
    content = bytearray(cmu_slide.read_bytes())
    content[400_000:500_000] = bytes(100_000)
    slide.write_bytes(content)
    refused(upscaled(slide, output, "--quiet", "--tile-px", 256), "level 0", "decoded")
    resumed = upscaled(slide, output, "--quiet", "--tile-px", 256, "--on-error", "white", "--report", report)
    assert resumed.returncode == 3
    assert len(resumed.stderr.splitlines()) == 1
    assert "960 x 256 px at 0, 1472" in resumed.stderr
    assert "960 x 256 px at 0, 1472" in read_metadata(output)["unreadable"]
    assert "960 x 256 px at 0, 1472" in json.loads(report.read_text())["slides"][0]["unreadable"]
    with tifffile.TiffFile(output) as tiff:
        assert (tiff.asarray()[2 * 1480 : 2 * 1720, 20:1900] == 255).all()
    whole = tmp_path / "whole.tif"
    assert upscaled(slide, whole, "--on-error", "white").returncode == 3
    assert whole.read_bytes() == output.read_bytes()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_named(slide: Path, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    refused(upscaled(slide, folder / "out.tif"), str(folder), "may write")


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="no folder here that refuses even root")
def test_a_folder_that_refuses_even_root_is_named(slide: Path) -> None:
    refused(upscaled(slide, Path("/proc/out.tif"), "--quiet"), "/proc/out.tif", "cannot be written")


def test_a_missing_folder_is_named(slide: Path, tmp_path: Path) -> None:
    refused(upscaled(slide, tmp_path / "nowhere" / "out.tif"), "nowhere", "create it", code=EXIT_USAGE)


def test_a_disk_that_takes_no_more_leaves_no_output(slide: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    words = ("upscale", slide, "--scale", 2, "--model", "bicubic", "-o", output, "--quiet")
    refused(run_wsisr_as_process(*words, largest_file=20_000), "out.tif", "cannot be written")
    assert not output.exists()


def test_two_runs_never_write_the_same_output(slide: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    with PyramidWriter(output, PyramidSpec(Size(10, 10), 0.5)):
        words = ("upscale", slide, "--scale", 2, "--model", "bicubic", "-o", output, "--quiet")
        refused(run_wsisr_as_process(*words), str(output), "another")
    assert not output.exists()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("nosuch.txt", ("nosuch.txt", "bicubic", ".safetensors or .onnx file")),
        ("nosuch.safetensors", ("nosuch.safetensors", "wsisr models")),
    ],
)
def test_a_model_that_does_not_exist_is_wrong_usage(slide: Path, model: str, words: tuple[str, ...]) -> None:
    refused(run_wsisr("upscale", slide, "--scale", 2, "--model", model), *words, code=EXIT_USAGE)
    assert not slide.with_name("slide.x2.ome.tif").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "bicubic", "--level", 7), ("level 7", "choose level 0")),
        (("--model", "bicubic", "--source-mpp", 0.1), ("0.1", "choose 0.5 or more", "--target-mpp")),
        (("--model", "bicubic", "--region-mm", "1,1,1,1"), ("300 x 200 px (0.15 x 0.1 mm)",)),
    ],
)
def test_what_cannot_be_done_is_one_line(slide: Path, options: tuple[object, ...], words: tuple[str, ...]) -> None:
    refused(run_wsisr("upscale", slide, "--scale", 2, *options), *words)
    assert not slide.with_name("slide.x2.ome.tif").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--scale", 3),
        ("--scale", 2, "--level", 0, "--source-mpp", 1),
        ("--scale", 2, "--target-mpp", 0.25),
        ("--target-mpp", 0.25, "--level", 0),
        ("--scale", 2, "--region", "0,0,9,9", "--whole-canvas"),
        ("--scale", 2, "--region", "0,0,9"),
        ("--scale", 2, "--quality", 0),
        ("--scale", 2, "--tile-px", 0),
        ("--scale", 2, "--icc", "none"),
        ("--scale", 2, "--layout", "bmp"),
        ("--scale", 2, "--codec", "png"),
        ("--scale", 2, "--codec", "webp"),
        ("--scale", 2, "--subsampling", "411"),
        ("--scale", 2, "--precision", "fp8"),
        ("--scale", 2, "--device", "tpu"),
        ("--scale", 2, "--jobs", "x"),
        (),
    ],
)
def test_wrong_usage_ends_with_2(slide: Path, options: tuple[object, ...]) -> None:
    assert run_wsisr("upscale", slide, *options).returncode == 2


def test_a_slide_is_not_replaced_by_its_preview(slide: Path, tmp_path: Path) -> None:
    picture = tmp_path / "slide.png"
    slide.rename(picture)
    before = picture.read_bytes()
    region = ("--region", "0,0,9,9", "--model", "bicubic")
    refused(run_wsisr("preview", picture, *region, "-o", picture, "--overwrite"), "belongs to the slide")
    assert picture.read_bytes() == before


def test_a_gpu_that_is_not_there_is_refused(slide: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = run_wsisr("upscale", slide, "--scale", 2, "-o", tmp_path / "o.tif", "--device", "cuda")
    refused(done, "cuda", "--device cpu", code=EXIT_USAGE)


def test_a_model_of_another_scale_is_refused(slide: Path) -> None:
    refused(run_wsisr("upscale", slide, "--scale", 4, "--model", "masrgan-x2"), "by 2, not by 4", code=EXIT_USAGE)


def test_an_untrained_pitch_is_warned_about_in_terminal_and_file(slide: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tif"
    done = run_wsisr("upscale", slide, "--scale", 2, "-o", output, "--mpp", 15, "--quiet", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "not on 15 um/px" in done.stderr
    assert "not on 15 um/px" in read_metadata(output)["warning"]
    assert len(read_metadata(output)["weights sha256"]) == 64


def test_a_preview_shows_three_views_and_an_overview(slide: Path, tmp_path: Path) -> None:
    output = tmp_path / "before-after.png"
    options = ("--scale", 4, "--model", "lanczos", "--region", "10,20,60,50", "-o", output)
    assert run_wsisr("preview", slide, *options).returncode == 0
    with Image.open(output) as picture:
        assert picture.width > 3 * 240
        assert picture.height > 200
        assert np.asarray(picture.convert("RGB")).std() > 10
    refused(run_wsisr("preview", slide, *options), "exists")


@pytest.mark.parametrize("region", ["290,190,60,50", "-1,0,10,10"])
def test_a_preview_of_nothing_is_refused(slide: Path, tmp_path: Path, region: str) -> None:
    done = run_wsisr("preview", slide, "--model", "bicubic", f"--region={region}", "-o", tmp_path / "p.png")
    refused(done, "region", "300 x 200")
