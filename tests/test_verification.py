from collections import deque
from pathlib import Path

import numpy as np
import pytest
import tifffile

from wsisr.geometry import Box, Size
from wsisr.verification import verify
from wsisr.writing import Codec, PyramidWriter, TiffSpec, read_note

NOTE = {"size": "300 x 200 px", "mpp": "0.25"}


def write(path: Path, codec: Codec, mpp: float = 0.25) -> None:
    y, x = np.mgrid[:200, :300]
    image = np.stack([x % 256, y, (x + y) // 2], axis=-1).astype(np.uint8)
    with PyramidWriter(path, TiffSpec(Size(300, 200), mpp, 16, codec=codec, note=NOTE)) as writer:
        writer.write(Box(0, 0, 300, 200), image)
        deque(writer.finish(1))


def wrong(path: Path) -> set[str]:
    return {finding.check for finding in verify(path, read_note(path)) if not finding.good}


@pytest.mark.parametrize("name", ["a.ome.tif", "a.svs"])
@pytest.mark.parametrize("method", ["jpeg", "deflate", "lzw"])
def test_what_wsisr_writes_passes(tmp_path: Path, name: str, method: str) -> None:
    write(tmp_path / name, Codec(method))
    assert wrong(tmp_path / name) == set()
    assert len(list(verify(tmp_path / name, NOTE))) == 10


def test_another_pitch_than_intended_is_found(tmp_path: Path) -> None:
    write(tmp_path / "a.ome.tif", Codec(), mpp=0.5)
    assert wrong(tmp_path / "a.ome.tif") == {"pixel pitch"}


def test_a_tile_beyond_the_end_of_the_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    write(path, Codec())
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tag = tiff.pages.first.tags["TileOffsets"]
        tag.overwrite([10**9, *tag.value[1:]])
    assert "tiles" in wrong(path)


def test_a_level_that_shows_something_else_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    write(path, Codec())
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for name in ("TileOffsets", "TileByteCounts"):
            tag = tiff.pages[1].aspage().tags[name]
            tag.overwrite(tag.value[::-1])
    assert "level 1" in wrong(path)
