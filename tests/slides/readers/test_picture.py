"""PNG and JPEG of a microscope: 8-bit RGB is read exactly, turned as EXIF says; whatever else is refused in a line."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps
from typer.testing import CliRunner

import wsisr
from tests.slides.contract import SlideContract, SlideSample
from tests.support.samples import make_noise
from wsisr.cli.app import app
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import open_slide
from wsisr.slides.lossy_compression import estimate_lossy_compression

PIXELS = make_noise(Size(220, 180))
SMALL = make_noise(Size(40, 30))
OPAQUE = np.dstack([SMALL, np.full((30, 40), 255, np.uint8)])
TRANSPARENT = np.dstack([SMALL, np.full((30, 40), 254, np.uint8)])


def write_picture(path: Path, pixels: Any = SMALL, **options: Any) -> Path:
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(path, **options)
    return path


def write_oriented(path: Path, orientation: int) -> Path:
    exif = Image.Exif()
    exif[274] = orientation
    return write_picture(path, exif=exif)


def read_all(path: Path) -> Rgb:
    with open_slide(path) as slide:
        return slide.read(Box.from_size(slide.info.size), 0)


class TestPng(SlideContract):
    @pytest.fixture(scope="class")
    @classmethod
    def sample(cls, tmp_path_factory: pytest.TempPathFactory) -> SlideSample:
        path = write_picture(tmp_path_factory.mktemp("png") / "field.png", PIXELS)
        return SlideSample(lambda: open_slide(path, 0.5), [PIXELS])


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:2:0"}])
def test_a_jpeg_is_what_another_decoder_makes_of_it(tmp_path: Path, options: dict[str, Any]) -> None:
    path = write_picture(tmp_path / "field.jpg", **options)
    np.testing.assert_array_equal(read_all(path), imagecodecs.jpeg8_decode(path.read_bytes()))


def test_content_counts_and_no_name(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "field.dat", format="PNG")
    np.testing.assert_array_equal(read_all(path), SMALL)


@pytest.mark.parametrize("band_px", [4_000_000, 90])
def test_an_opaque_alpha_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, band_px: int) -> None:
    """Whether copied at once or in bands of two rows and one."""
    monkeypatch.setattr("wsisr.slides.readers.picture._BAND_PX", band_px)
    np.testing.assert_array_equal(read_all(write_picture(tmp_path / "a.png", OPAQUE)), SMALL)


def test_a_density_is_no_pixel_size_and_a_profile_is_kept(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name in ("a.png", "a.jpg"):
        with open_slide(write_picture(tmp_path / name, dpi=(25400, 25400), icc_profile=profile)) as slide:
            assert slide.info.mpp is None
            assert slide.info.icc == profile
        with open_slide(tmp_path / name, 0.5) as slide:
            assert slide.info.mpp == 0.5


@settings(max_examples=8)
@given(orientation=st.integers(1, 8), name=st.sampled_from(["a.png", "a.jpg"]))
def test_a_picture_is_turned_as_exif_says(
    tmp_path_factory: pytest.TempPathFactory, orientation: int, name: str
) -> None:
    path = write_oriented(tmp_path_factory.mktemp("turned") / name, orientation)
    with Image.open(path) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(read_all(path), expected)
    with open_slide(path) as slide:
        assert any("turned" in text for text in slide.info.warnings) == (orientation != 1)


@pytest.mark.parametrize("exif", [b"nonsense", b"II*\0\xff\xff\xff\xff"])
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_damaged_exif_is_said_and_the_picture_shown_as_stored(tmp_path: Path, name: str, exif: bytes) -> None:
    with open_slide(write_picture(tmp_path / name, exif=b"Exif\0\0" + exif)) as slide:
        assert any("EXIF data are damaged" in text for text in slide.info.warnings)
        assert slide.info.size == Size(40, 30)


def write_deep_png(path: Path) -> Path:
    path.write_bytes(imagecodecs.png_encode(SMALL.astype(np.uint16) * 257))
    return path


def write_cut(path: Path) -> Path:
    path.write_bytes(write_picture(path).read_bytes()[:-500])
    return path


def write_bomb(path: Path) -> Path:
    """Write a PNG that claims 60,000 px squared."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "grey.png": (lambda path: write_picture(path, SMALL[..., 0]), "8-bit grey"),
    "grey.jpg": (lambda path: write_picture(path, SMALL[..., 0]), "8-bit grey"),
    "bits.png": (lambda path: write_picture(path, Image.new("1", (40, 30))), "1-bit grey"),
    "palette.png": (lambda path: write_picture(path, Image.fromarray(SMALL).quantize(16)), "4-bit palette"),
    "deep.png": (write_deep_png, "16-bit RGB"),
    "cmyk.jpg": (lambda path: write_picture(path, Image.fromarray(SMALL).convert("CMYK")), "8-bit CMYK"),
    "glass.png": (lambda path: write_picture(path, TRANSPARENT), "transparent places"),
    "key.png": (lambda path: write_picture(path, transparency=(1, 2, 3)), "transparent places"),
    "frames.png": (
        lambda path: write_picture(path, save_all=True, append_images=[Image.fromarray(SMALL[::-1])]),
        "holds 2 pictures",
    ),
    "cut.png": (write_cut, "damaged, copy it again"),
    "cut.jpg": (write_cut, "damaged, copy it again"),
    "bomb.png": (write_bomb, "store it as a slide"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_whatever_else_is_refused_in_a_line(tmp_path: Path, name: str) -> None:
    write, words = REFUSED[name]
    path = write(tmp_path / name)
    with pytest.raises(SlideError, match=words) as caught:
        open_slide(path, 0.5)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_picture_is_enlarged_into_a_pyramid(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "field.png")
    with pytest.raises(SlideError, match="--mpp"):
        wsisr.upscale_slide(path, scale=2, model="bicubic")
    report = wsisr.upscale_slide(path, scale=2, model="bicubic", mpp=0.5, codec="deflate")
    assert report.output.name == "field.x2.ome.tif"
    np.testing.assert_array_equal(read_all(report.output), wsisr.enlarge(SMALL, mpp=0.5, model="bicubic"))


def test_a_picture_can_be_looked_at_first(tmp_path: Path) -> None:
    path, look = write_picture(tmp_path / "field.jpg"), tmp_path / "look.png"
    words = ["preview", str(path), "--region", "0,0,40,30", "--scale", "2", "--model", "bicubic", "--mpp", "0.5"]
    assert CliRunner().invoke(app, [*words, "-o", str(look)], catch_exceptions=False).exit_code == 0
    assert look.is_file()


def test_a_png_lost_nothing_and_a_jpeg_did(tmp_path: Path) -> None:
    with open_slide(write_picture(tmp_path / "a.png")) as png, open_slide(write_picture(tmp_path / "a.jpg")) as jpeg:
        assert estimate_lossy_compression(png.info) is None
        assert estimate_lossy_compression(jpeg.info)
