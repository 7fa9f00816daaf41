"""Laws of the tissue map: glass has to be proven, and tissue is kept."""

from __future__ import annotations

import json
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support.samples import InMemorySlide, make_noise
from wsisr.errors import AnnotationError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import open_slide
from wsisr.tissue import TissueMap, find_tissue, make_full_map

GLASS = (241, 238, 240)
MPP = 2.0
"""Pixel size of the synthetic slides: 2 px are one px of the map."""


def make_picture(colour: tuple[int, int, int], grain: int = 0) -> tuple[Rgb, Box]:
    """Return glass with noise of one grey level, and in it a patch of one colour with grain."""
    random = np.random.default_rng(0)
    picture = np.array(GLASS) + random.normal(0, 1, (800, 800, 3))
    patch = Box(300, 300, 500, 500)
    specks = random.normal(0, grain, (50, 50)).repeat(4, axis=0).repeat(4, axis=1)[..., None]
    picture[patch.rows, patch.columns] = np.array(colour) + specks
    return picture.round().clip(0, 255).astype(np.uint8), patch


def expand_mask(tissue: TissueMap, picture: Rgb) -> Any:
    size = Size(picture.shape[1], picture.shape[0])
    return tissue.mask_cells(size, Box.from_size(size), 8).repeat(8, axis=0).repeat(8, axis=1)


@pytest.mark.parametrize(
    ("colour", "grain"),
    [
        ((200, 120, 170), 10),  # H&E
        ((229, 226, 230), 0),  # faint and without texture
        ((238, 236, 239), 6),  # as pale as glass, but with texture
        ((200, 205, 225), 4),  # pale haematoxylin of IHC
        ((150, 100, 60), 8),  # DAB
        ((190, 190, 190), 0),  # grey
        ((40, 60, 200), 0),  # pen
    ],
)
def test_tissue_of_any_kind_stays_and_far_glass_goes(colour: tuple[int, int, int], grain: int) -> None:
    picture, patch = make_picture(colour, grain)
    mask = expand_mask(find_tissue(InMemorySlide(picture, MPP)), picture)
    assert mask[patch.rows, patch.columns].all()
    assert not mask[:200, :200].any()


def test_empty_vacuoles_within_fat_are_tissue() -> None:
    picture, _ = make_picture(GLASS)
    for x in range(300, 500, 40):  # fat cells of 80 um
        cv2.line(picture, (x, 300), (x, 460), (190, 140, 170), 4)
        cv2.line(picture, (300, x), (460, x), (190, 140, 170), 4)
    mask = expand_mask(find_tissue(InMemorySlide(picture, MPP)), picture)
    assert mask[300:460, 300:460].all()
    assert mask.mean() < 0.5


@pytest.mark.parametrize("colour", [(170, 170, 170), (240, 200, 220), (120, 60, 100)])
def test_without_glass_everything_is_tissue(colour: tuple[int, int, int]) -> None:
    assert find_tissue(InMemorySlide(np.full((400, 400, 3), colour, np.uint8), MPP)).area_fraction == 1


def test_noise_is_tissue() -> None:
    assert find_tissue(InMemorySlide(make_noise(Size(400, 300)), 4.0)).area_fraction == 1


def test_places_without_pixels_are_no_tissue_and_no_glass_either() -> None:
    picture, patch = make_picture((200, 120, 170), 10)
    picture[:, 600:] = 255
    mask = expand_mask(find_tissue(InMemorySlide(picture, MPP)), picture)
    assert mask[patch.rows, patch.columns].all()
    assert not mask[:, 650:].any()
    assert not mask[:200, :200].any()


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 30), st.data())
def test_a_cell_that_touches_tissue_is_tissue_whatever_its_size(
    width: int, height: int, cell: int, data: st.DataObject
) -> None:
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    flags = np.zeros((height, width), bool)
    flags[y, x] = True
    cells = TissueMap(flags, "").mask_cells(Size(width, height), Box(0, 0, width, height), cell)
    assert cells.shape == (-(-height // cell), -(-width // cell))
    assert np.argwhere(cells).tolist() == [[y // cell, x // cell]]


def test_everywhere_is_everywhere() -> None:
    assert make_full_map().mask_cells(Size(100, 70), Box(10, 20, 90, 60), 16).all()


def test_a_mask_picture_is_stretched_over_the_slide(tmp_path: Path) -> None:
    mask = np.zeros((20, 40), np.uint8)
    mask[:, :10] = 1  # labels, as programs write them
    Image.fromarray(mask).save(tmp_path / "mask.png")
    tissue = find_tissue(InMemorySlide(make_noise(Size(400, 200))), tmp_path / "mask.png")
    assert tissue.area_fraction == 0.25
    assert tissue.mask_cells(Size(400, 200), Box(0, 0, 400, 200), 100).tolist() == [[True, False, False, False]] * 2


def test_whatever_is_not_black_in_a_mask_counts(tmp_path: Path) -> None:
    slide, marks = InMemorySlide(make_noise(Size(400, 200))), np.zeros((20, 40))
    marks[:, :10] = 0.1
    opaque = np.dstack([(marks > 0).astype(np.uint8)] * 3 + [np.full((20, 40), 255, np.uint8)])
    palette = Image.fromarray((marks > 0).astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 0, 90, 0])
    kinds = {
        "likely.tif": Image.fromarray(marks.astype(np.float32)),
        "many.png": Image.fromarray((marks * 5000).astype(np.uint16)),
        "one.png": Image.fromarray(marks > 0),
        "colours.png": palette,
        "opaque.png": Image.fromarray(opaque),
    }
    for name, picture in kinds.items():
        picture.save(tmp_path / name)
        assert find_tissue(slide, tmp_path / name).area_fraction == 0.25


def test_a_mask_of_more_pixels_than_pillow_likes_is_one_line(tmp_path: Path) -> None:
    for side in (10_000, 14_000):
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        chunks = b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in ((b"IHDR", header), (b"IDAT", b""), (b"IEND", b""))
        )
        (tmp_path / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
        with (
            warnings.catch_warnings(action="error"),
            pytest.raises(AnnotationError, match=r"large\.png: .*(large|exceeds)"),
        ):
            find_tissue(InMemorySlide(make_noise(Size(400, 200))), tmp_path / "large.png")


SQUARE, HOLE = [[20, 20], [180, 20], [180, 180], [20, 180], [20, 20]], [[60, 60], [140, 60], [140, 140], [60, 140]]


def feature(geometry: dict[str, Any], name: str | None = None) -> dict[str, Any]:
    properties = {"objectType": "annotation"} | ({"classification": {"name": name}} if name else {})
    return {"type": "Feature", "geometry": geometry, "properties": properties}


POLYGON = feature({"type": "Polygon", "coordinates": [SQUARE, HOLE]})
MULTI = feature({"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE], [[[200, 0], [396, 0], [396, 10], [200, 10]]]]})


@pytest.mark.parametrize(
    "content",
    [POLYGON, [POLYGON], {"type": "FeatureCollection", "features": [POLYGON, POLYGON]}, MULTI, POLYGON["geometry"]],
)
def test_annotations_have_holes(tmp_path: Path, content: Any) -> None:
    file = tmp_path / "a.geojson"
    file.write_text(json.dumps(content))
    tissue = find_tissue(InMemorySlide(make_noise(Size(400, 200))), file)
    cells = tissue.mask_cells(Size(400, 200), Box(0, 0, 400, 200), 20)
    assert cells[2, 2]
    assert cells[1, 8]
    assert not cells[4:6, 4:6].any()
    assert not cells[5, 12]


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "{}",
        "[]",
        "3",
        json.dumps(feature({"type": "Point", "coordinates": [3, 3]})),
        json.dumps(feature({"type": "Polygon", "coordinates": [[[1, "x"]]]})),
        json.dumps(feature({"type": "Polygon", "coordinates": [[[1e6, 1e6], [2e6, 1e6], [2e6, 2e6]]]})),
        json.dumps(feature({"type": "Polygon", "coordinates": [SQUARE]}, "Ignore*")),
        '{"type": "Polygon", "coordinates": [[[NaN, 1], [2, 3], [4, 5]]]}',
        f'{{"type": "Polygon", "coordinates": [[[1{"0" * 400}, 1], [2, 3], [4, 5]]]}}',
        "[" * 100_000,
    ],
)
def test_annotations_without_a_polygon_are_one_line(tmp_path: Path, content: str) -> None:
    file = tmp_path / "a.geojson"
    file.write_text(content)
    with pytest.raises(AnnotationError, match=r"a\.geojson") as refused:
        find_tissue(InMemorySlide(make_noise(Size(400, 200))), file)
    assert len(str(refused.value).splitlines()) == 1


def test_masks_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    slide = InMemorySlide(make_noise(Size(400, 200)))
    Image.new("L", (20, 40), 255).save(tmp_path / "tall.png")
    Image.new("L", (40, 20), 0).save(tmp_path / "black.png")
    (tmp_path / "text.png").write_text("dear diary")
    for name, words in {
        "tall": "does not cover",
        "black": "marks nothing",
        "text": "not a mask picture",
        "gone": "gone",
    }.items():
        with pytest.raises(AnnotationError, match=words):
            find_tissue(slide, tmp_path / f"{name}.png")


def test_a_real_slide_loses_glass_and_keeps_tissue(cmu_slide: Path) -> None:
    with open_slide(cmu_slide) as slide:
        tissue = find_tissue(slide)
        picture = slide.read(Box.from_size(slide.info.size), 0)
    assert 0.4 < tissue.area_fraction < 0.8
    mask = tissue.mask_cells(slide.info.size, Box.from_size(slide.info.size), 64)
    dark = cv2.resize(picture, (mask.shape[1], mask.shape[0]), interpolation=cv2.INTER_AREA).min(axis=2) < 200
    assert not (dark & ~mask).any()
