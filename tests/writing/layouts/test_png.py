"""A small result as a PNG: its pixel size and its origin lie in the file, and one that is too large is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

import wsisr
from tests.support.samples import make_noise, write_tiff
from wsisr.errors import OutputError, SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.slides import open_slide
from wsisr.writing import read_metadata
from wsisr.writing.layouts.catalog import LAYOUTS
from wsisr.writing.verification import verify_pyramid

OPTIONS: dict[str, Any] = {"scale": 2, "mpp": 0.5, "model": "bicubic"}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("png") / "field.png"
    Image.fromarray(make_noise(Size(60, 40))).save(path)
    return path


@pytest.fixture(scope="module")
def result(snapshot: Path) -> Path:
    wsisr.upscale_slide(snapshot, output=snapshot.with_name("larger.png"), **OPTIONS)
    return snapshot.with_name("larger.png")


def test_a_snapshot_becomes_a_png_of_the_same_pixels_as_a_lossless_tiff(snapshot: Path, result: Path) -> None:
    tiff = snapshot.with_name("larger.tif")
    wsisr.upscale_slide(snapshot, output=tiff, codec="deflate", **OPTIONS)
    with open_slide(result) as png_slide, open_slide(tiff) as tiff_slide:
        whole = Box(0, 0, 120, 80)
        assert (png_slide.read(whole, 0) == tiff_slide.read(whole, 0)).all()
        assert png_slide.info.mpp == pytest.approx(0.25)


def test_a_slide_that_records_its_objective_becomes_one_that_does(tmp_path: Path) -> None:
    words = "Aperio Image Library v1\r\n60x40 (64x64) JPEG Q=70|AppMag = 20|MPP = 0.5"
    slide = write_tiff(tmp_path / "a.svs", make_noise(Size(60, 40)), tile=(64, 64), description=words)
    wsisr.upscale_slide(slide, output=tmp_path / "a.png", scale=2, model="bicubic")
    with open_slide(tmp_path / "a.png") as result:
        assert result.info.objective == 40
        assert result.info.mpp == pytest.approx(0.25)


def test_picture_programs_show_what_it_is_and_its_density(result: Path) -> None:
    with Image.open(result) as picture:
        texts = picture.info
        assert "research use only" in texts["Title"]
        assert "not an observation; research use only" in texts["Description"]
        assert picture.info["dpi"][0] == pytest.approx(25_400 / 0.25)


def test_it_verifies_until_a_byte_is_changed(result: Path, tmp_path: Path) -> None:
    assert all(finding.good for finding in verify_pyramid(result))
    damaged, data = tmp_path / "damaged.png", bytearray(result.read_bytes())
    data[len(data) // 2] ^= 255
    damaged.write_bytes(data)
    assert not all(finding.good for finding in verify_pyramid(damaged))


def test_it_is_known_as_a_result_and_the_same_call_leaves_it_alone(snapshot: Path, result: Path) -> None:
    assert wsisr.upscale_slide(snapshot, output=result, **OPTIONS).state == "finished before"
    with pytest.raises(SlideError, match="wsisr wrote it"):
        wsisr.upscale_slide(result, scale=2, model="bicubic")


def test_what_another_program_has_cut_says_neither_where_it_lies_nor_how_large_its_pixels_are(
    result: Path, tmp_path: Path
) -> None:
    path, texts = tmp_path / "cut.png", PngImagePlugin.PngInfo()
    with Image.open(result) as picture:
        for key, text in picture.info.items():
            if isinstance(text, str):  # as ImageMagick keeps them, and the density
                texts.add_text(str(key), text)
        picture.crop((10, 10, 40, 40)).save(path, pnginfo=texts, dpi=picture.info["dpi"])
    with open_slide(path, estimate=True) as slide:
        assert slide.info.mpp is None
        assert any("has cut or resized it" in warning for warning in slide.info.warnings)
    metadata = read_metadata(path)
    assert "derived" in metadata
    assert not {"size", "mpp", "scale", "source origin"} & metadata.keys()


def test_a_picture_of_another_program_has_no_metadata(snapshot: Path) -> None:
    assert read_metadata(snapshot) == {}


def test_what_no_picture_should_hold_is_refused() -> None:
    LAYOUTS["png"].check_size(Size(10_000, 10_000))
    with pytest.raises(OutputError, match=r"at most 100 Mpx, and the result has 10001 x 10000 px; write .ome.tif"):
        LAYOUTS["png"].check_size(Size(10_001, 10_000))
