"""Tiles coded by processes: the same file, whatever becomes of them."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from imagecodecs import Jpeg8Error

from tests.support.samples import noise
from wsisr.errors import OutputError
from wsisr.imaging.geometry import Box, Size
from wsisr.writing import Codec, PyramidSpec, PyramidWriter, WorkFolder
from wsisr.writing.encoding.codec import COMPRESSION_METHODS
from wsisr.writing.encoding.encoder import CoarserTile, FinerTile
from wsisr.writing.encoding.encoder_pool import EncoderPool, start_encoder_pool

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux has memory to share so")

SIZE = Size(411, 290)
TILE_PX = 32
WORK = WorkFolder({"of": "this test"})

PARENT = """
from wsisr.writing import Codec
from wsisr.writing.encoding.encoder_pool import Hands
import signal
import numpy as np
hands = Hands(Codec(), 32, 2)
with hands.one() as one, hands.one() as other:
    for hand in one, other:
        hand.encode([np.zeros((32, 32, 3), np.uint8)])
print(hands._first.pid, flush=True)
signal.pause()
"""


def spec_of(codec: Codec) -> PyramidSpec:
    layout = "ome-zarr" if codec.compression_method.tiff_compression is None else "ome-tiff"
    return PyramidSpec(SIZE, 0.5, TILE_PX, codec=codec, layout=layout)


def written(path: Path, codec: Codec, hands: int) -> dict[str, bytes]:
    image = noise(SIZE)
    with PyramidWriter(path, spec_of(codec), encoder_processes=hands) as writer:
        for box in (Box(0, 0, 160, 290), Box(160, 0, 411, 290)):
            writer.write(box, image[box.rows, box.columns])
        deque(writer.finish(), 0)
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.mark.parametrize("method", COMPRESSION_METHODS)
def test_processes_write_what_threads_do(tmp_path: Path, method: str) -> None:
    suffix = ".ome.zarr" if COMPRESSION_METHODS[method].tiff_compression is None else ".ome.tif"
    alone, by_hands = (written(tmp_path / f"{count}{suffix}", Codec(method), count) for count in (0, 2))
    assert alone == by_hands


def test_threads_do_it_where_the_system_refuses_memory(tmp_path: Path) -> None:
    expected = written(tmp_path / "alone.ome.tif", Codec(), 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))  # of a file, and less than so many share
    try:
        assert start_encoder_pool(Codec(), TILE_PX, 16) is None
        assert written(tmp_path / "refused.ome.tif", Codec(), 16) == expected
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_process_that_is_ended_costs_nothing_that_is_finished(tmp_path: Path) -> None:
    expected = written(tmp_path / "alone.ome.tif", Codec(), 0)["."]
    path, image = tmp_path / "again.ome.tif", noise(SIZE)
    first, second = Box(0, 0, 128, 290), Box(128, 0, 411, 290)
    with PyramidWriter(path, spec_of(Codec()), WORK, encoder_processes=1) as writer:
        writer.write(first, image[first.rows, first.columns])
        assert writer._encoder_pool is not None
        for hand in members(writer._encoder_pool._first.pid):
            os.kill(hand, signal.SIGKILL)
        with pytest.raises(OutputError, match=r"was ended \(out of memory\?\); the same command goes on"):
            writer.write(second, image[second.rows, second.columns])
    with PyramidWriter(path, spec_of(Codec()), WORK, encoder_processes=1) as writer:
        assert writer.has_tiles(first)
        writer.write(Box.from_size(SIZE), image)
        deque(writer.finish(), 0)
    assert path.read_bytes() == expected


def test_an_error_of_a_process_is_raised_here_and_it_goes_on() -> None:
    hands = EncoderPool(Codec(), TILE_PX, 1)
    with hands.borrow_encoder() as hand:
        with pytest.raises(Jpeg8Error):
            hand.encode_coarser([CoarserTile(16, 16, [FinerTile(0, 0, 32, 32, b"no JPEG")])])
        code = bytes(hand.encode_tiles([np.zeros((TILE_PX, TILE_PX, 3), np.uint8)])[0])
    hands.close()
    assert not Codec().decode(code, TILE_PX).any()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_processes_leave_it_to_their_parent_to_stop(sent: signal.Signals) -> None:
    hands = EncoderPool(Codec(), TILE_PX, 2)
    tile = noise(Size(TILE_PX, TILE_PX))
    with hands.borrow_encoder() as one, hands.borrow_encoder() as other:
        before = [bytes(hand.encode_tiles([tile])[0]) for hand in (one, other)]
        for each in members(hands._first.pid):
            os.kill(each, sent)
        assert [bytes(hand.encode_tiles([tile])[0]) for hand in (one, other)] == before
    hands.close()


def test_processes_end_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        ends = [os.pidfd_open(each) for each in members(int(parent.stdout.readline()))]
        parent.kill()
    for end in ends:
        assert select.select([end], [], [], 60)[0]
        os.close(end)


def members(first: int) -> list[int]:
    """A process and those it has started."""
    children = Path(f"/proc/{first}/task/{first}/children")
    return [first, *map(int, children.read_text().split())]
