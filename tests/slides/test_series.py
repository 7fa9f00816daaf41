"""Files that hold several images: the largest is read, and that is said; `series` chooses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from tests.support.formats import make_blobs, write_leica
from tests.support.samples import make_noise, make_noise_levels, write_generic_pyramid
from wsisr.cli.app import app
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import open_slide
from wsisr.slides.region import select_region

SMALL, LARGE = make_noise_levels(Size(120, 90), Size(60, 45)), make_noise_levels(Size(200, 150), Size(100, 75))


def write_ome(path: Path, images: Sequence[tuple[str, Sequence[Rgb]]]) -> Path:
    """One Image of OME-XML for each, with SubIFDs."""
    options: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb"}
    with tifffile.TiffWriter(path, ome=True) as writer:
        for name, levels in images:
            ome = {"Name": name, "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"}
            ome |= {"PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
            writer.write(levels[0], subifds=len(levels) - 1, metadata={"axes": "YXS"} | ome, **options)
            for level in levels[1:]:
                writer.write(level, subfiletype=1, **options)
    return path


def test_of_several_ome_images_the_largest_is_read_unless_another_is_asked_for(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.ome.tif", [("one", SMALL), ("two", LARGE), ("label image", [LARGE[1]])])
    for series, levels in ((None, LARGE), (0, SMALL), (1, LARGE)):
        with open_slide(path, series=series) as slide:
            assert [scene.name for scene in slide.info.all_series] == ["one", "two", "label image"]
            assert slide.info.series_number == (1 if series is None else series)
            assert (len(slide.info.warnings) == 1) == (series is None)
            assert slide.info.mpp == 0.5
            for number, level in enumerate(levels):
                size = Size(level.shape[1], level.shape[0])
                assert slide.info.levels[number].size == size
                np.testing.assert_array_equal(slide.read(Box.from_size(size), number), level)


def test_a_label_beside_a_slide_is_no_choice(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.ome.tif", [("scan", LARGE), ("label image", [SMALL[1]]), ("macro image", SMALL)])
    with open_slide(path) as slide:
        assert slide.info.warnings == ()
        assert slide.info.series_number == 0


def test_the_largest_is_refused_by_name_rather_than_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(np.zeros((300, 300), np.uint16), tile=(64, 64), metadata={"axes": "YX"})
        writer.write(LARGE[0], tile=(64, 64), photometric="rgb", metadata={"axes": "YXS"})
    with pytest.raises(SlideError, match=r"16-bit pixels.*series 0 of 2; others by --series"):
        open_slide(path)
    with open_slide(path, series=1) as slide:
        np.testing.assert_array_equal(slide.read(Box(0, 0, 200, 150), 0), LARGE[0])


@pytest.mark.parametrize("series", [1, 7])
def test_a_series_that_is_not_there_is_refused(tmp_path: Path, series: int) -> None:
    tifffile.imwrite(tmp_path / "a.tif", LARGE[0], tile=(64, 64), photometric="rgb", compression="jpeg")
    with pytest.raises(SlideError, match=f"no series {series}; it holds one image"):
        open_slide(tmp_path / "a.tif", series=series)


def test_regions_of_a_glass_lie_on_one_canvas_and_each_can_be_had(tmp_path: Path) -> None:
    scans = [
        [make_blobs(Size(256, 192)), make_blobs(Size(128, 96))],
        [make_blobs(Size(96, 64)), make_blobs(Size(48, 32))],
    ]
    path = write_leica(tmp_path / "a.scn", scans[0], second=scans[1])
    with open_slide(path) as slide:
        assert (slide.info.series_number, slide.info.bounds) == (None, Box(20, 20, 396, 364))
        assert [scene.size for scene in slide.info.all_series] == [Size(256, 192), Size(96, 64)]
    for series, corner in ((0, 20), (1, 300)):
        with open_slide(path, series=series) as slide:
            source = select_region(slide)
            assert source.level0_origin == (corner, corner)
            assert source.build_metadata()["source series"] == f"{series} of 2"
            shown = source.read(Box.from_size(source.size)).astype(int)
            assert np.abs(shown - scans[series][0]).mean() < 6


def test_the_commands_list_the_images_and_take_the_one_that_is_asked_for(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.ome.tif", [("one", [make_noise(Size(64, 48))]), ("two", LARGE)])
    run = CliRunner().invoke(app, ["info", str(path), "--json"])
    facts = json.loads(run.output)
    assert facts["series"] == 1
    assert [(scene["name"], scene["width"]) for scene in facts["scenes"]] == [("one", 64), ("two", 200)]
    made = CliRunner().invoke(app, ["upscale", str(path), "--scale", "2", "--model", "bicubic", "--series", "0"])
    assert made.exit_code == 0, made.output
    with open_slide(tmp_path / "a.series0.x2.ome.tif") as slide:
        assert slide.info.size == Size(128, 96)


def test_levels_that_are_rounded_unevenly_are_no_images_of_their_own(tmp_path: Path) -> None:
    levels = make_noise_levels(Size(531, 397), Size(266, 199), Size(27, 20))
    path = write_generic_pyramid(tmp_path / "uneven.tif", levels)
    with open_slide(path) as slide:
        assert [level.size for level in slide.info.levels] == [Size(531, 397), Size(266, 199), Size(27, 20)]
        assert not slide.info.all_series
