"""A stored JPEG tile handed out undecoded shows in any decoder what the reader gives, or it is not handed out."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.support.formats import make_blobs
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import open_slide

EXIF_TURN = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
ADOBE_YCC = b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0\x01"
ICC = b"\xff\xe2\x00\x10ICC_PROFILE\0\1\1"


def write_coded_tiles(path: Path, image: Rgb, tiles: Iterable[bytes], *, photometric: str) -> None:
    """Write a TIFF of the size of `image` whose tiles of 128 px hold these JPEGs as they are."""
    tifffile.imwrite(
        path,
        iter(tiles),
        shape=image.shape,
        dtype="uint8",
        tile=(128, 128),
        photometric=photometric,
        compression="jpeg",
        metadata=None,
    )


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_a_tile_shows_what_is_read(tmp_path: Path, photometric: str, subsampling: tuple[int, int]) -> None:
    """Also where it has no marker of its colours, and only the header of the TIFF says RGB."""
    options: dict[str, Any] = {"subsampling": subsampling} if photometric == "ycbcr" else {}
    path, image = tmp_path / "a.tif", make_blobs(Size(300, 140))
    if photometric == "rgb":
        # Components of RGB as they are, without the marker that says so.
        padded = np.pad(image, ((0, 116), (0, 84), (0, 0)))
        tiles = [padded[y : y + 128, x : x + 128] for y in (0, 128) for x in (0, 128, 256)]
        colours: dict[str, Any] = {"colorspace": "RGB", "outcolorspace": "RGB"}
        coded = [strip_adobe(bytes(imagecodecs.jpeg8_encode(tile, 90, **colours))) for tile in tiles]
        write_coded_tiles(path, image, coded, photometric="rgb")
    else:
        tifffile.imwrite(
            path, image, tile=(128, 128), photometric=photometric, compression="jpeg", metadata=None, **options
        )
    with open_slide(path) as slide:
        assert slide.get_jpeg_tile_size(0) == Size(128, 128)
        for column, row in ((0, 0), (1, 0), (2, 1)):
            data = slide.read_jpeg_tile(0, column, row)
            assert data
            box = Box(0, 0, 128, 128).translate(column * 128, row * 128)
            inside = box.intersection(Box.from_size(slide.info.size)).relative_to(box)
            shown = np.asarray(Image.open(BytesIO(data)).convert("RGB"))
            np.testing.assert_array_equal(
                shown[inside.rows, inside.columns], slide.read(box, 0)[inside.rows, inside.columns]
            )


def strip_adobe(data: bytes) -> bytes:
    at = data.find(b"\xff\xee\x00\x0eAdobe")
    return data if at < 0 else data[:at] + data[at + 16 :]


@pytest.mark.parametrize("marker", [EXIF_TURN, ICC, b"\xff\xe1\x00\x08Exif\0\0"])
def test_a_tile_that_a_browser_would_turn_or_recolour_is_not_handed_out(tmp_path: Path, marker: bytes) -> None:
    image = make_blobs(Size(128, 128))
    data = bytes(imagecodecs.jpeg8_encode(image, 90))
    for path, tile in ((tmp_path / "plain.tif", data), (tmp_path / "marked.tif", data[:2] + marker + data[2:])):
        write_coded_tiles(path, image, [tile], photometric="ycbcr")
        with open_slide(path) as slide:
            assert (slide.read_jpeg_tile(0, 0, 0) is None) == ("marked" in path.name)
            assert slide.read(Box(0, 0, 128, 128), 0).std() > 10


@pytest.mark.parametrize("damage", ["short", "small", "empty"])
def test_a_tile_that_is_not_whole_is_not_handed_out(tmp_path: Path, damage: str) -> None:
    image = make_blobs(Size(256, 128))
    whole, small = (bytes(imagecodecs.jpeg8_encode(image[:side, :side], 90)) for side in (128, 96))
    second = {"short": whole[:-40], "small": small, "empty": b""}[damage]
    path = tmp_path / "a.tif"
    write_coded_tiles(path, image, [whole, second], photometric="ycbcr")
    with open_slide(path) as slide:
        if slide.get_jpeg_tile_size(0):
            assert slide.read_jpeg_tile(0, 0, 0)
            assert slide.read_jpeg_tile(0, 1, 0) is None
