"""A run that is at work can be looked at: its finished tiles are shown as stored, the rest is not made up."""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.viewer.pictures import Pair
from wsisr.errors import OutputError, SlideError
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.models.upscaler import Resampling
from wsisr.progress import Progress
from wsisr.slides import open_slide
from wsisr.slides.region import SlideRegion
from wsisr.upscaling.engine import upscale_region
from wsisr.upscaling.plan import UpscaleOptions
from wsisr.viewer.export import export_view
from wsisr.viewer.pyramid import JPEG, PNG
from wsisr.viewer.unfinished import UnfinishedResult
from wsisr.viewer.view import View, ViewRequest
from wsisr.writing import Codec

BLOCKS = 20
"""Of 128 px of the scan: 5 x 4, each a tile of 256 px of the result."""


@contextmanager
def run(scan: Path, output: Path, codec: Codec | None = None) -> Iterator[Iterator[Progress]]:
    options = UpscaleOptions(128, codec=codec or Codec())
    with open_slide(scan) as slide:
        making = upscale_region(SlideRegion(slide, 0), Resampling("bicubic", 2), output, options=options)
        with closing(making):
            yield making


def list_state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def measure_difference(pixels: NDArray[np.uint8], stored: Rgb, shown: NDArray[np.bool_]) -> float:
    return float(np.abs(pixels[..., :3].astype(int) - stored)[shown].mean())


def place_tiles(image: UnfinishedResult, level: int) -> list[tuple[int, int]]:
    shown = image.pyramid.levels[level]
    return [(column, row) for row in range(shown.rows) for column in range(shown.columns)]


@pytest.fixture(scope="module")
def finished(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("finished") / "scan.x2.ome.tif"
    with run(pair.scan, output) as steps:
        deque(steps, 0)
    return output


@pytest.fixture(scope="module")
def stopped(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run that was stopped after the half of its blocks; it has no file."""
    output = tmp_path_factory.mktemp("stopped") / "scan.x2.ome.tif"
    with run(pair.scan, output) as steps:
        deque(islice(steps, BLOCKS // 2), 0)
    return output


def test_finished_tiles_are_those_of_the_file_and_the_rest_is_transparent(finished: Path, stopped: Path) -> None:
    part = stopped.with_name(f"{stopped.name}.wsisr-part")
    before = list_state(part)
    with (
        closing(UnfinishedResult(stopped)) as image,
        View(ViewRequest([finished])) as view,
        open_slide(finished) as slide,
    ):
        complete = view.images[0].pyramid
        for number, level in enumerate(slide.info.levels):
            kinds = set()
            for column, row in place_tiles(image, number):
                tile, box = image.pyramid.read_tile(number, column, row), Box(0, 0, 256, 256)
                assert tile is not None
                kinds.add(tile.media_type)
                if tile.media_type == JPEG:
                    whole = complete.read_tile(number, column, row)
                    assert whole is not None
                    assert tile.data == whole.data
                    continue
                box = box.translate(256 * column, 256 * row).intersection(Box.from_size(level.size))
                pixels = np.asarray(Image.open(BytesIO(tile.data)))[: box.height, : box.width]
                shown = pixels[..., 3] == 255
                assert not pixels[~shown].any()
                if shown.any():
                    stored = slide.read(box, number)
                    # Both went through JPEG; what lies a pixel beside differs by far more.
                    assert measure_difference(pixels, stored, shown) < 0.5 * measure_difference(
                        pixels, np.roll(stored, 1, axis=1), shown
                    )
            assert kinds == ({JPEG, PNG} if number == 0 else kinds | {PNG})
    assert list_state(part) == before


def test_new_tiles_appear_until_the_run_has_ended(pair: Pair, tmp_path: Path) -> None:
    output = tmp_path / "scan.x2.ome.tif"
    with run(pair.scan, output) as steps:
        deque(islice(steps, 3), 0)
        with View(ViewRequest([pair.scan, output])) as view:
            first = read_run(view)
            assert view.describe()["images"][1]["tissue"] is None
            assert first["words"].startswith("unfinished, ")
            deque(islice(steps, 4), 0)
            second = read_run(view)
            assert second["version"] >= first["version"] + 4
            empty = view.get_resource("tiles/1/0/4_3.jpg")
            assert empty is not None
            assert empty.media_type == PNG
            deque(steps, 0)
            last = read_run(view)
            assert (last["ended"], first["ended"]) == (True, False)
            with open_slide(output) as slide:  # the files are gone, and still open here
                tile = view.get_resource("tiles/1/0/1_1.jpg")
                assert tile is not None
                assert slide.read_jpeg_tile(0, 1, 1) == tile.data


def read_run(view: View) -> dict[str, Any]:
    status = view.get_resource("status.json")
    assert status is not None
    return dict(json.loads(status.data)["runs"]["1"])


def test_other_codecs_are_shown_without_loss(pair: Pair, tmp_path: Path) -> None:
    output = tmp_path / "a.ome.tif"
    with run(pair.scan, output, Codec("deflate")) as steps:
        deque(islice(steps, 6), 0)
        with closing(UnfinishedResult(output)) as image:
            tile = image.pyramid.read_tile(0, 0, 0)
        deque(steps, 0)
    assert tile is not None
    with open_slide(output) as slide:
        stored = slide.read(Box(0, 0, 256, 256), 0)
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(tile.data)))[..., :3], stored)


def test_a_damaged_tile_counts_as_unfinished(stopped: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(stopped.with_name(f"{stopped.name}.wsisr-part"), tmp_path / "a.tif.wsisr-part"))
    tiles = folder / "level-0.tiles"
    tiles.write_bytes(bytes(len(tiles.read_bytes())))
    with closing(UnfinishedResult(folder)) as image:
        assert image.info.path == folder
        for column, row in place_tiles(image, 0):
            tile = image.pyramid.read_tile(0, column, row)
            assert tile is not None
            assert tile.media_type == PNG


def test_a_page_of_an_unfinished_result_is_not_exported(stopped: Path, tmp_path: Path) -> None:
    with View(ViewRequest([stopped])) as view, pytest.raises(OutputError, match="is not finished"):
        next(export_view(view, tmp_path / "page", 10**9))


@pytest.mark.parametrize("record", ["{}", '{"output": "9 x 9 px in tiles of 16 px, 1e99 um/px, by x"}', "no JSON"])
def test_other_folders_are_no_runs(tmp_path: Path, record: str) -> None:
    folder = tmp_path / "a.tif.wsisr-part"
    folder.mkdir()
    (folder / "run.json").write_text(record)
    with pytest.raises(SlideError, match="is no work folder of wsisr upscale"):
        UnfinishedResult(tmp_path / "a.tif")
