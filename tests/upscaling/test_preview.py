"""A before/after picture shows the truth where the slide has it, and only there."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from typer.testing import CliRunner

import wsisr
from tests.support.pairs import write_levels
from tests.support.samples import make_noise
from wsisr.cli.app import app
from wsisr.cli.preview import preview_command
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, shrink_image
from wsisr.models.upscaler import Resampling
from wsisr.slides import open_slide
from wsisr.slides.region import select_region
from wsisr.upscaling.preview import GAP_PX, draw_comparison

HIGH = make_noise(Size(256, 192))
PLACE = Box(64, 32, 160, 112)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_levels(tmp_path / "slide.ome.tif", [HIGH, shrink_image(HIGH, 2, "area")], 0.5)


def shows(picture: npt.NDArray[np.uint8], image: Rgb) -> bool:
    """Whether an image stands in a picture somewhere."""
    rows, columns = image.shape[:2]
    starts = np.argwhere((picture[: -rows + 1, : -columns + 1] == image[0, 0]).all(axis=-1))
    return any(np.array_equal(picture[y : y + rows, x : x + columns], image) for y, x in starts)


@pytest.mark.parametrize(("level", "mpp"), [(None, 1.0), (1, None)], ids=["a pitch", "a level"])
def test_where_the_slide_is_finer_its_own_pixels_stand_beside_the_result(
    path: Path, level: int | None, mpp: float | None
) -> None:
    with open_slide(path) as slide:
        source = select_region(slide, level, mpp, PLACE)
        picture = np.asarray(draw_comparison(source, Resampling("bicubic", 2)))
    assert shows(picture, HIGH[PLACE.rows, PLACE.columns])


@pytest.mark.parametrize(
    ("level", "mpp", "scale"),
    [(0, None, 2), (None, 1.0, 4), (None, 0.99005, 2)],
    ids=["level 0", "too far", "by a hair"],
)
def test_what_the_slide_does_not_have_is_not_shown(
    path: Path, level: int | None, mpp: float | None, scale: int
) -> None:
    """Its last panel is then the result."""
    with open_slide(path) as slide:
        source, upscaler = select_region(slide, level, mpp), Resampling("bicubic", scale)
        result = upscaler(source.read(Box.from_size(source.size))[None])[0]
        picture = np.asarray(draw_comparison(source, upscaler))
    last = picture[:, -(result.shape[1] + 2 * GAP_PX) :]
    assert shows(last, result)


OPTIONS: dict[str, Any] = {"region": (64, 32, 96, 80), "scale": 2, "source_mpp": 1.0, "model": "bicubic"}


def test_the_picture_in_python_is_the_one_that_the_command_writes(path: Path, tmp_path: Path) -> None:
    words = [f"--{name.replace('_', '-')}={','.join(map(str, np.atleast_1d(OPTIONS[name])))}" for name in OPTIONS]
    written = tmp_path / "look.png"
    done = CliRunner().invoke(app, ["preview", str(path), *words, "-o", str(written)], catch_exceptions=False)
    assert done.exit_code == 0
    with Image.open(written) as picture:
        np.testing.assert_array_equal(wsisr.preview_slide(path, **OPTIONS), picture)


def test_without_a_region_a_preview_shows_all_of_a_small_slide(path: Path) -> None:
    picture = wsisr.preview_slide(path, scale=2, model="bicubic")
    assert shows(np.asarray(picture), Resampling("bicubic", 2)(HIGH[None])[0])


def test_what_a_viewer_must_know_is_a_warning_at_the_callers_line(path: Path) -> None:
    with pytest.warns(wsisr.UpscaleWarning) as caught:
        wsisr.preview_slide(path, region=(0, 0, 16, 16), scale=2, mpp=8, model="mmsrnet-x2")
    assert any("not on 8 um/px" in str(warning.message) for warning in caught)
    assert {warning.filename for warning in caught} == {__file__}


def test_options_of_a_preview_have_the_defaults_of_the_command() -> None:
    by_command = {name: option.default for name, option in inspect.signature(preview_command).parameters.items()}
    by_command["guard"] = not by_command["no_guard"]
    for option in fields(wsisr.PreviewRequest):
        if option.name not in ("slide", "region"):  # the command asks for a region
            assert option.default == by_command[option.name], option.name
