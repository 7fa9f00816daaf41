"""`wsisr annotations`: a mark on the slide is on the same structure in the result."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner, Result

from tests.support.pairs import write_levels
from tests.support.samples import write_ome_pyramid
from wsisr.api import upscale_slide
from wsisr.cli.app import app
from wsisr.errors import AnnotationNotFoundError, ConfigError, OutputError
from wsisr.imaging.geometry import Box
from wsisr.slides import open_slide

NUCLEUS = Box(120, 90, 140, 104)
"""A dark place on the slide, in level-0 px."""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of a part of a slide that is shrunk to half before."""
    folder = tmp_path_factory.mktemp("slide")
    pixels = np.full((200, 260, 3), 230, np.uint8)
    pixels[NUCLEUS.rows, NUCLEUS.columns] = (60, 20, 90)
    slide = write_levels(folder / "a.tif", [pixels], 0.25)
    output = folder / "a.x4.ome.tif"
    upscale_slide(slide, scale=4, source_mpp=0.5, region=(40, 30, 180, 140), model="bicubic", output=output)
    return output


def move(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["annotations", *map(str, arguments)])


def write_mark(path: Path, box: Box) -> Path:
    ring = [[box.left, box.top], [box.right, box.top], [box.right, box.bottom], [box.left, box.bottom]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {"name": "n"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return path


def read_ring(path: Path) -> list[list[float]]:
    content = path.read_bytes()
    document: Any = json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
    ring: list[list[float]] = document["features"][0]["geometry"]["coordinates"][0]
    return ring


def test_a_mark_lies_on_the_same_structure_of_the_result_and_comes_back(result: Path, tmp_path: Path) -> None:
    file = write_mark(tmp_path / "marks.geojson", NUCLEUS)
    moved, back = tmp_path / "marks.result.geojson", tmp_path / "back.geojson.gz"
    assert move(file, "--for", result).exit_code == 0
    (left, top), (right, bottom) = read_ring(moved)[0], read_ring(moved)[2]
    with open_slide(result) as opened:
        grey = opened.read(Box.from_size(opened.info.size), 0).mean(axis=2)
    rows, columns = np.nonzero(grey < 145)
    edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert edges == pytest.approx((left, top, right, bottom), abs=1)
    assert move(moved, "--for", result, "--from", "result", "-o", back).exit_code == 0
    assert np.allclose(read_ring(back), read_ring(file), atol=0.01)


def test_marks_are_warned_of_that_count_in_other_pixels_than_the_file_stores(tmp_path: Path) -> None:
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
    slide = write_ome_pyramid(tmp_path / "a.tif", [np.full((80, 60, 3), 200, np.uint8)], sizes)
    result = tmp_path / "a.ome.tif"
    upscale_slide(slide, scale=2, model="bicubic", output=result)
    moved = move(write_mark(tmp_path / "marks.geojson", Box(2, 2, 30, 30)), "--for", result)
    assert moved.exit_code == 0
    assert "count in its stored pixels, and are not converted" in " ".join(moved.stderr.split())


def test_bad_input_is_one_line_and_writes_nothing(result: Path, tmp_path: Path) -> None:
    file, far = write_mark(tmp_path / "a.geojson", NUCLEUS), write_mark(tmp_path / "far.geojson", Box(0, 0, 9, 9))
    empty, slide = tmp_path / "empty.geojson", result.with_name("a.tif")
    empty.write_text('{"type": "FeatureCollection", "features": []}')
    cut = tmp_path / "cut.ome.tif"
    with tifffile.TiffFile(result) as tiff:  # as a program that keeps the texts
        description = tiff.pages.first.description
    with open_slide(result) as opened:
        part = opened.read(Box(0, 0, 64, 64), 0)
    tifffile.imwrite(cut, part, description=description.encode(), photometric="rgb", metadata=None)
    before = sorted(tmp_path.iterdir())
    for words, error, reason in (
        ((far, "--for", result), ConfigError, "marks nothing of"),
        ((empty, "--for", result), ConfigError, "holds no annotation"),
        ((file, "--for", cut), ConfigError, "another program has cut or resized it"),
        ((file, "--for", slide), ConfigError, "give a result of wsisr upscale"),
        ((file, "--for", result, "-o", file, "--overwrite"), OutputError, "is the file that is read"),
        ((file, "--for", result, "-o", tmp_path / "a.txt"), OutputError, "its name must end in"),
        ((file, "--for", result, "--origin", "bounds"), SystemExit, "give the slide with --slide"),
        ((file, "--for", result, "--from", "there"), SystemExit, "choose slide or result"),
        ((tmp_path / "none.geojson", "--for", result), AnnotationNotFoundError, "cannot be read"),
    ):
        refused = move(*words)
        assert isinstance(refused.exception, error)
        line = refused.output.strip() if error is SystemExit else str(refused.exception)
        assert reason in line
        assert "\n" not in line
    assert sorted(tmp_path.iterdir()) == before
