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
from wsisr.slides.region import SlideRegion, select_region
from wsisr.upscaling.preview import GAP_PX, draw_comparison, draw_sheet
from wsisr.upscaling.preview_places import find_preview_places

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


NUCLEI = Box(640, 512, 960, 768)
"""Where the only nuclei of `tissue_slide` are, in px of level 0."""


@pytest.fixture(scope="module")
def tissue_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Glass with a sheet of smooth pink tissue, and nuclei in one place of it."""
    pixels = np.full((1024, 1280, 3), 240, np.uint8)
    pixels[256:, 320:] = (220, 150, 190)
    random = np.random.default_rng(0)
    for x, y in zip(random.integers(NUCLEI.left, NUCLEI.right, 400), random.integers(512, 768, 400), strict=True):
        pixels[y : y + 9, x : x + 9] = (90, 50, 130)
    return write_levels(tmp_path_factory.mktemp("tissue") / "slide.ome.tif", [pixels], 0.5)


def test_without_a_region_a_preview_shows_the_tissue_with_most_structure(tissue_slide: Path) -> None:
    picture = wsisr.preview_slide(tissue_slide, scale=2, model="bicubic")
    given = wsisr.preview_slide(tissue_slide, region=(640, 512, 320, 256), scale=2, model="bicubic")
    np.testing.assert_array_equal(picture, given)


def test_several_places_show_different_tissue_and_no_glass(tissue_slide: Path) -> None:
    with open_slide(tissue_slide) as slide:
        places = find_preview_places(select_region(slide), 3, 2)
        pixels = [slide.read(place, 0) for place in places]
    assert len({(place.left, place.top) for place in places}) == 3
    assert all((image.min(axis=2) < 190).mean() > 0.4 for image in pixels)
    assert NUCLEI in places


def test_a_slide_without_tissue_has_nothing_to_show(tmp_path: Path) -> None:
    blank = write_levels(tmp_path / "blank.ome.tif", [np.full((600, 600, 3), 240, np.uint8)], 0.5)
    with pytest.raises(wsisr.WsisrError, match="no tissue was found; say where to look with --region X,Y,W,H"):
        wsisr.preview_slide(blank, scale=2, model="bicubic")


def test_with_truth_the_slide_itself_stands_beside_the_result(path: Path) -> None:
    picture = np.asarray(wsisr.preview_slide(path, region=(64, 32, 96, 80), scale=2, truth=True, model="bicubic"))
    assert shows(picture, HIGH[32:112, 64:160])
    by_mpp = wsisr.preview_slide(path, region=(64, 32, 96, 80), scale=2, source_mpp=1.0, model="bicubic")
    np.testing.assert_array_equal(picture, by_mpp)


def test_zoom_shows_each_pixel_of_the_result_as_a_square(path: Path) -> None:
    result = Resampling("bicubic", 2)(HIGH[None, :16, :24])[0]
    picture = np.asarray(wsisr.preview_slide(path, region=(0, 0, 24, 16), scale=2, zoom=3, model="bicubic"))
    inner = result[8:-8, 8:-8]  # beyond it, the network's surroundings differ
    assert shows(picture, inner.repeat(3, axis=0).repeat(3, axis=1))


def test_several_regions_stand_on_one_sheet(path: Path) -> None:
    regions = [(0, 0, 24, 16), (100, 90, 32, 40)]
    picture = np.asarray(wsisr.preview_slide(path, region=regions, scale=2, model="bicubic"))
    for region in regions:
        alone = np.asarray(wsisr.preview_slide(path, region=region, scale=2, model="bicubic"))
        assert shows(picture, alone)


def test_a_preview_is_a_picture_that_a_notebook_shows(path: Path) -> None:
    picture = wsisr.preview_slide(path, region=(0, 0, 24, 16), scale=2, model="bicubic")
    assert (picture._repr_png_() or b"")[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"truth": True, "level": 1}, "--truth chooses the pixel size; leave out --source-mpp and --level"),
        ({"zoom": 0}, "--zoom: give a whole number from 1 to 16"),
        ({"count": 13}, "--count: give a whole number from 1 to 12"),
        ({"count": 2, "region": (0, 0, 9, 9)}, "--count is for regions that are found"),
        ({"region": [(0, 0, 9, 9), (1, 2)]}, "--region: give four numbers"),
    ],
)
def test_what_no_preview_can_show_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(wsisr.WsisrError, match=words):
        wsisr.PreviewRequest("slide.svs", **options)


@pytest.mark.parametrize(("side", "count"), [(1100, 1), (1000, 5)])
def test_a_sheet_that_would_fill_the_memory_is_refused(path: Path, side: int, count: int) -> None:
    with open_slide(path) as slide:
        region = SlideRegion(slide, 0, 0.25, Box(0, 0, side, side))
        with pytest.raises(wsisr.WsisrError, match="too large"):
            draw_sheet([region] * count, Resampling("bicubic", 2))


def test_what_a_viewer_must_know_is_a_warning_at_the_callers_line(path: Path) -> None:
    with pytest.warns(wsisr.UpscaleWarning) as caught:
        wsisr.preview_slide(path, region=(0, 0, 16, 16), scale=2, mpp=8, model="mmsrnet-x2")
    assert any("not on 8 um/px" in str(warning.message) for warning in caught)
    assert {warning.filename for warning in caught} == {__file__}


def test_options_of_a_preview_have_the_defaults_of_the_command() -> None:
    by_command = {name: option.default for name, option in inspect.signature(preview_command).parameters.items()}
    by_command["guard"] = not by_command["no_guard"]
    for option in fields(wsisr.PreviewRequest):
        if option.name != "slide":
            assert option.default == by_command[option.name], option.name
