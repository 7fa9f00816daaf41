"""Marks of others: counted from the canvas or from the scanned bounds, compressed, and with parts to leave out."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.samples import InMemorySlide, make_noise
from wsisr.errors import AnnotationError, AnnotationNotFoundError
from wsisr.imaging.geometry import Box, Size
from wsisr.slides import SlideInfo
from wsisr.tissue import TissueMap, annotation, find_tissue

CANVAS = Size(2000, 1600)
BOUNDS = Box(1200, 800, 1800, 1400)


class BoundedSlide(InMemorySlide):
    """A slide whose canvas is larger than what was scanned."""

    def __init__(self, bounds: Box = BOUNDS) -> None:
        super().__init__(np.full((CANVAS.height, CANVAS.width, 3), 200, np.uint8))
        self._bounds = bounds

    @property
    def info(self) -> SlideInfo:
        return replace(super().info, bounds=self._bounds)


def outline(box: Box) -> list[list[int]]:
    return [[box.left, box.top], [box.right, box.top], [box.right, box.bottom], [box.left, box.bottom]]


def polygon(*boxes: Box, **classification: Any) -> dict[str, Any]:
    """A feature: the first box is its outline, the others are holes."""
    geometry = {"type": "Polygon", "coordinates": [outline(box) for box in boxes]}
    return {"type": "Feature", "geometry": geometry, "properties": {"classification": classification}}


def write_geojson(path: Path, features: Sequence[dict[str, Any]]) -> Path:
    text = json.dumps({"type": "FeatureCollection", "features": features})
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def find_marked_box(tissue: TissueMap, size: Size = CANVAS) -> Box:
    """Return the box of all tissue, in level-0 px, to whole cells of 4 px."""
    cells = np.argwhere(tissue.mask_cells(size, Box.from_size(size), 4))
    (top, left), (bottom, right) = cells.min(axis=0), cells.max(axis=0) + 1
    return Box(int(left), int(top), int(right), int(bottom)) * 4


@pytest.mark.parametrize("name", ["a.geojson", "a.geojson.gz", "a.json"])
def test_annotations_lie_on_the_scan_whatever_their_program_counts_from(tmp_path: Path, name: str) -> None:
    place = Box(1300, 1000, 1500, 1200)
    for marks in (place, place.relative_to(BOUNDS)):
        file = write_geojson(tmp_path / name, [polygon(marks)])
        marked = find_marked_box(find_tissue(BoundedSlide(), file))
        assert (marked.left, marked.top) == (place.left, place.top)
        assert 0 <= marked.right - place.right <= 8
        assert 0 <= marked.bottom - place.bottom <= 8


def test_where_both_origins_hit_the_scan_the_user_is_asked_and_obeyed(tmp_path: Path) -> None:
    slide = BoundedSlide(Box(40, 80, 1800, 1400))
    file = write_geojson(tmp_path / "a.geojson", [polygon(Box(400, 400, 600, 600))])
    with pytest.raises(AnnotationError, match=r"canvas or, as QuPath does, .* at 40, 80 px; say which with"):
        find_tissue(slide, file)
    assert find_marked_box(find_tissue(slide, file, "canvas")).top == 400
    assert find_marked_box(find_tissue(slide, file, "bounds")).top == 480


def test_marks_beside_the_scan_are_an_error_and_no_white_result(tmp_path: Path) -> None:
    file = write_geojson(tmp_path / "a.geojson", [polygon(Box(700, 10, 900, 50))])
    with pytest.raises(AnnotationError, match="marks nothing that was scanned"):
        find_tissue(BoundedSlide(), file)


def test_a_mask_covers_the_canvas_or_the_bounds_as_its_sides_tell(tmp_path: Path) -> None:
    slide = BoundedSlide()
    for size, left_half in ((Size(100, 80), Box(60, 40, 75, 70)), (Size(60, 60), Box(0, 0, 30, 60))):
        picture = np.zeros((size.height, size.width), np.uint8)
        picture[left_half.rows, left_half.columns] = 255
        Image.fromarray(picture).save(tmp_path / "mask.png")
        assert find_marked_box(find_tissue(slide, tmp_path / "mask.png")) == Box(1200, 800, 1500, 1400)


def test_a_mask_of_a_pixel_is_refused(tmp_path: Path) -> None:
    Image.new("L", (1, 1), 255).save(tmp_path / "mask.png")
    with pytest.raises(AnnotationError, match=r"a mask of 1 x 1 px is too coarse .* give one of at least 8 px"):
        find_tissue(BoundedSlide(), tmp_path / "mask.png")


def test_a_mask_that_does_not_exist_is_no_wrong_picture(tmp_path: Path) -> None:
    with pytest.raises(
        AnnotationNotFoundError, match=r"none\.png: cannot be opened \(No such file or directory\); give a picture"
    ):
        find_tissue(BoundedSlide(), tmp_path / "none.png")


def test_a_mask_that_may_cover_either_is_asked_about(tmp_path: Path) -> None:
    slide = BoundedSlide(Box(200, 160, 1200, 960))
    Image.fromarray(make_noise(Size(100, 80))).save(tmp_path / "mask.png")
    with pytest.raises(AnnotationError, match="--tissue-origin"):
        find_tissue(slide, tmp_path / "mask.png")
    assert find_tissue(slide, tmp_path / "mask.png", "canvas").area_fraction == 1
    assert find_marked_box(find_tissue(slide, tmp_path / "mask.png", "bounds")) == Box(200, 160, 1200, 960)
    with pytest.raises(AnnotationError, match="does not cover 600 x 600 px"):
        find_tissue(BoundedSlide(), tmp_path / "mask.png", "bounds")


@pytest.mark.parametrize(
    "classification", [{"name": "Ignore*"}, {"name": "Tumor: Ignore*"}, {"names": ["a", "Ignore*"]}]
)
@pytest.mark.parametrize("first", [True, False])
def test_what_qupath_ignores_is_cut_out_of_tissue(tmp_path: Path, classification: Any, first: bool) -> None:
    tissue, fold = polygon(Box(0, 0, 400, 200)), polygon(Box(100, 40, 200, 160), **classification)
    file = write_geojson(tmp_path / "a.geojson", [fold, tissue] if first else [tissue, fold])
    cells = find_tissue(InMemorySlide(make_noise(Size(400, 200))), file).mask_cells(
        Size(400, 200), Box(0, 0, 400, 200), 20
    )
    assert not cells[3:7, 6:9].any()
    assert cells[:, :5].all()
    assert cells[:, 11:].all()
    assert cells[:2].all()


@pytest.mark.parametrize("kind", ["EPS", "BMP", "GIF", "PPM", "TGA", "WEBP"])
def test_a_mask_in_a_format_that_may_start_a_program_or_is_rare_is_refused(tmp_path: Path, kind: str) -> None:
    Image.new("RGB", (40, 30), (255, 255, 255)).save(tmp_path / "mask.png", kind)
    with pytest.raises(AnnotationError, match="is not a mask picture"):
        find_tissue(InMemorySlide(make_noise(Size(400, 300))), tmp_path / "mask.png")


def test_compressed_annotations_are_bounded_and_damage_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_geojson(tmp_path / "a.geojson.gz", [polygon(Box(0, 0, 40, 40))] * 100)
    whole, slide = file.read_bytes(), InMemorySlide(make_noise(Size(400, 200)))
    for damaged in (whole[:-9], whole[:40] + b"x" * 40):
        file.write_bytes(damaged)
        with pytest.raises(AnnotationError, match="damaged gzip"):
            find_tissue(slide, file)
    file.write_bytes(whole)
    monkeypatch.setattr(annotation, "MAX_GEOJSON_BYTES", 5000)
    with pytest.raises(AnnotationError, match="leave out what is not tissue"):
        find_tissue(slide, file)
