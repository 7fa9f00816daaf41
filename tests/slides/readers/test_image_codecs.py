"""TIFF of 8-bit RGB in codecs that libtiff lacks: read to the bit where they are lossless, and bounded."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.slides.contract import SlideContract, SlideSample
from tests.support.samples import make_noise, make_noise_levels, write_generic_pyramid, write_ome_pyramid, write_tiff
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import open_slide
from wsisr.slides.associated import read_associated_image

LEVELS = make_noise_levels(Size(220, 180), Size(110, 90))
LOSSLESS: dict[str, dict[str, Any]] = {
    "webp": {"compression": "webp", "compressionargs": {"lossless": True}},
    "jpeg2000": {"compression": "jpeg2000", "compressionargs": {"level": 0, "reversible": True}},
    "jpegxl": {"compression": "jpegxl", "compressionargs": {"lossless": True}},
    "zstd": {"compression": "zstd", "predictor": True},
    "packbits": {"compression": "packbits"},
}


class TestImageCodecs(SlideContract):
    @pytest.fixture(scope="class", params=LOSSLESS)
    @classmethod
    def sample(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SlideSample:
        folder = tmp_path_factory.mktemp("codec")
        path = write_generic_pyramid(folder / "a.tif", LEVELS, **LOSSLESS[request.param])
        return SlideSample(lambda: open_slide(path), LEVELS)


@pytest.mark.parametrize("codec", LOSSLESS)
@pytest.mark.parametrize("layout", [{"rowsperstrip": 50}, {"tile": (64, 48)}, {"tile": (64, 64), "ome": True}])
def test_every_layout_is_read(tmp_path: Path, codec: str, layout: dict[str, Any]) -> None:
    path = tmp_path / "a.tif"
    if "ome" in layout:
        write_ome_pyramid(path, LEVELS, **LOSSLESS[codec])
    else:
        write_tiff(path, LEVELS[0], **LOSSLESS[codec], **layout)
    with open_slide(path) as slide:
        assert len(slide.info.levels) == (2 if "ome" in layout else 1)
        np.testing.assert_array_equal(slide.read(Box(30, 20, 220, 180), 0), LEVELS[0][20:180, 30:220])


@pytest.mark.parametrize("codec", ["webp", "jpegxl", "jpeg2000"])
def test_an_aperio_file_in_such_a_codec_has_its_words(tmp_path: Path, codec: str) -> None:
    words = "Aperio Image Library, by a converter|AppMag = 40|MPP = 0.25"
    path = tmp_path / "a.svs"
    write_tiff(path, LEVELS[0], tile=(64, 64), description=words, **LOSSLESS[codec])
    with open_slide(path) as slide:
        assert (slide.info.vendor, slide.info.mpp, slide.info.objective) == ("aperio", 0.25, 40)


@pytest.mark.parametrize("codec", ["webp", "jpegxl"])
def test_the_label_of_a_file_that_openslide_refuses_is_read(tmp_path: Path, codec: str) -> None:
    path, label = tmp_path / "a.svs", make_noise(Size(60, 50), 3)
    with tifffile.TiffWriter(path) as writer:
        options: dict[str, Any] = {"photometric": "rgb", "metadata": None, "subfiletype": 0}
        words = "Aperio Image Library, by a converter|AppMag = 40|MPP = 0.25"
        writer.write(LEVELS[0], tile=(64, 64), description=words, **options, **LOSSLESS[codec])
        writer.write(make_noise(Size(30, 20)), description="Aperio Image Library", **options)
        writer.write(label, description="Aperio Image Library\r\nlabel 60x50", **options | {"subfiletype": 1})
    with open_slide(path) as slide:
        np.testing.assert_array_equal(read_associated_image(slide.info, "label"), label)


def to_ycbcr(pixels: Rgb) -> Rgb:
    return np.asarray(Image.fromarray(pixels).convert("YCbCr"))


JPEG2000: dict[str, tuple[str, Callable[[Rgb], Any]]] = {
    "RGB": ("rgb", lambda tile: imagecodecs.jpeg2k_encode(tile, level=0, mct=False)),
    "RGB, transformed": ("rgb", lambda tile: imagecodecs.jpeg2k_encode(tile, level=0, mct=True)),
    "YCbCr, transformed": ("ycbcr", lambda tile: imagecodecs.jpeg2k_encode(tile, level=0, mct=True)),
    "YCbCr, as it is": ("ycbcr", lambda tile: imagecodecs.jpeg2k_encode(to_ycbcr(tile), level=0, mct=False)),
    "in a JP2 file": ("rgb", lambda tile: imagecodecs.jpeg2k_encode(tile, level=0, codecformat="jp2")),
}


@pytest.mark.parametrize("kind", JPEG2000)
def test_jpeg2000_has_the_colours_that_header_and_codestream_mean_together(tmp_path: Path, kind: str) -> None:
    photometric, encode = JPEG2000[kind]
    image, path = make_noise(Size(64, 64)), tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        options: Any = {"shape": image.shape, "dtype": "uint8", "tile": (64, 64), "compression": 34712}
        writer.write(iter([encode(image)]), photometric="rgb", metadata=None, **options)
    if photometric == "ycbcr":
        with tifffile.TiffFile(path, mode="r+") as tiff:
            tiff.pages.first.tags["PhotometricInterpretation"].overwrite(6)
    with open_slide(path) as slide:
        difference = slide.read(Box(0, 0, 64, 64), 0).astype(int) - image
    assert np.abs(difference).max() <= (3 if kind == "YCbCr, as it is" else 0)


@pytest.mark.parametrize("codec", ["webp", "jpegxl", "jpeg2000"])
def test_an_image_larger_than_its_tile_is_refused_undecoded(tmp_path: Path, codec: str) -> None:
    encoders: dict[str, Callable[[Rgb], Any]] = {
        "webp": lambda image: imagecodecs.webp_encode(image, lossless=True),
        "jpegxl": imagecodecs.jpegxl_encode,
        "jpeg2000": lambda image: imagecodecs.jpeg2k_encode(image, level=0),
    }
    bomb = encoders[codec](np.zeros((3000, 3000, 3), np.uint8))
    path = tmp_path / "bomb.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            iter([bytes(bomb)]), shape=(64, 64, 3), dtype="uint8", photometric="rgb", tile=(64, 64), compression=codec
        )
    with open_slide(path) as slide:
        tracemalloc.start()
        with pytest.raises(SlideError, match="level 0, x 0, y 0, 64 x 64 px cannot be decoded"):
            slide.read(Box(0, 0, 64, 64), 0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("codec", [codec for codec in LOSSLESS if codec != "packbits"])
def test_damaged_bytes_are_one_line(tmp_path: Path, codec: str) -> None:
    path = write_tiff(tmp_path / "a.tif", LEVELS[0], tile=(256, 256), **LOSSLESS[codec])
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages.first.dataoffsets[0], tiff.pages.first.databytecounts[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:offset] + b"x" * count + whole[offset + count :])
    with open_slide(path) as slide, pytest.raises(SlideError, match="cannot be decoded") as caught:
        slide.read(Box(0, 0, 220, 180), 0)
    assert "\n" not in str(caught.value)
