"""`wsisr upscale` with `--tissue`, `--background` and `--save-mask`."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner, Result

from tests.support.samples import make_noise, write_tiff
from wsisr.cli.app import app
from wsisr.imaging.geometry import Size
from wsisr.writing import read_metadata

PITCHED = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER", "photometric": "rgb", "metadata": None}


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """Noise on the left, glass on the right."""
    pixels = np.full((700, 1400, 3), 240, np.uint8)
    pixels[:, :400] = make_noise(Size(400, 700))
    return write_tiff(tmp_path / "slide.tif", pixels, **PITCHED)


def upscaled(slide: Path, output: Path, *more: object) -> Result:
    words = ["upscale", slide, "--scale", 2, "--model", "bicubic", "-o", output, *more]
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(word) for word in words])


def test_a_white_background_leaves_the_tissue_and_is_told(slide: Path, tmp_path: Path) -> None:
    plain, white = tmp_path / "plain.tif", tmp_path / "white.tif"
    assert upscaled(slide, plain, "--codec", "deflate").exit_code == 0
    done = upscaled(slide, white, "--codec", "deflate", "--background", "white")
    assert done.exit_code == 0
    assert "white elsewhere" in done.stdout
    assert "white there" in read_metadata(white)["background"]
    kept, painted = tifffile.imread(plain, key=0), tifffile.imread(white, key=0)
    np.testing.assert_array_equal(kept[:, :800], painted[:, :800])
    assert (painted[:, 1280:] == 255).all()
    assert (kept[:, 1280:] == 240).all()


def test_a_saved_mask_shows_the_tissue_and_can_be_given(slide: Path, tmp_path: Path) -> None:
    mask, first, second = tmp_path / "mask.png", tmp_path / "1.tif", tmp_path / "2.tif"
    assert upscaled(slide, first, "--background", "white", "--save-mask", mask).exit_code == 0
    flags = np.asarray(Image.open(mask).convert("L")) > 0
    assert flags[:, : flags.shape[1] // 4].all()
    assert not flags[:, flags.shape[1] // 2 :].any()
    assert upscaled(slide, second, "--background", "white", "--tissue", mask).exit_code == 0
    np.testing.assert_array_equal(tifffile.imread(first, key=0), tifffile.imread(second, key=0))
    assert upscaled(slide, tmp_path / "3.tif", "--save-mask", mask).exit_code == 1


def test_a_mask_belongs_to_one_slide(slide: Path, tmp_path: Path) -> None:
    assert upscaled(slide, tmp_path, slide, "--tissue", "mask.png").exit_code == 2
    assert upscaled(slide, tmp_path / "o.tif", "--background", "black").exit_code == 2
    assert upscaled(slide, tmp_path / "o.tif", "--tissue", tmp_path / "gone.png").exit_code == 1


def test_where_no_tile_is_without_tissue_that_is_said(slide: Path, tmp_path: Path) -> None:
    left, plain = ("--region", "0,0,300,300"), tmp_path / "plain.tif"
    done = upscaled(slide, tmp_path / "white.tif", *left, "--background", "white", "--report", tmp_path / "run.json")
    assert re.search("everywhere, found at .*; nothing is made white", done.stdout)
    assert json.loads((tmp_path / "run.json").read_bytes())["slides"][0]["skipped"] == 0
    assert "everywhere" not in upscaled(slide, plain, *left).stdout  # of a filter, nobody asked


def test_a_mask_shows_the_whole_slide_even_of_a_region(slide: Path, tmp_path: Path) -> None:
    whole, part, region = tmp_path / "whole.png", tmp_path / "part.png", ("--region", "0,0,300,300")
    assert upscaled(slide, tmp_path / "1.tif", "--save-mask", whole).exit_code == 0
    done = upscaled(slide, tmp_path / "2.tif", *region, "--save-mask", part)
    assert "tissue of the whole slide" in done.stderr
    assert part.read_bytes() == whole.read_bytes()
    assert upscaled(slide, tmp_path / "3.tif", *region, "--tissue", part).exit_code == 0


def test_a_region_without_tissue_has_an_exit_code_of_its_own_whenever_it_was_made(slide: Path, tmp_path: Path) -> None:
    marks = {"type": "Polygon", "coordinates": [[[0, 0], [40, 0], [40, 40], [0, 40]]]}
    (tmp_path / "a.geojson").write_text(json.dumps(marks))
    os.utime(slide, (1_600_000_000, 1_600_000_000))  # so long ago that the index of finished results is used
    glass = ("--region", "900,200,300,300", "--background", "white", "--report", tmp_path / "run.json")
    for tissue, advice in (("auto", "--save-mask FILE.png"), (tmp_path / "a.geojson", "px of level 0")):
        output = tmp_path / f"{Path(tissue).stem}.tif"
        for state in ("done", "finished before"):
            done = upscaled(slide, output, *glass, "--tissue", tissue)
            assert done.exit_code == 3
            assert advice in done.stderr
            (row,) = json.loads((tmp_path / "run.json").read_bytes())["slides"]
            assert (row["state"], row["no_tissue"]) == (state, True)
    for warning in ("no tissue was found in", "1 slide without any tissue"):  # a batch of one
        done = upscaled(slide, tmp_path / "results", *glass)
        assert done.exit_code == 3
        assert warning in done.stderr
