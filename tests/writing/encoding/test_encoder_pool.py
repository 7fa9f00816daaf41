"""Tiles encoded by processes: the file is the same, whatever happens to the processes."""

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

from tests.support.patience import PATIENCE_S
from tests.support.samples import make_noise
from wsisr.errors import OutputError
from wsisr.imaging.geometry import Box, Size
from wsisr.writing import Codec, PyramidSpec, PyramidWriter, WorkFolder
from wsisr.writing.encoding.codec import COMPRESSION_METHODS
from wsisr.writing.encoding.encoder import CoarserTile, FinerTile
from wsisr.writing.encoding.encoder_pool import EncoderPool, start_encoder_pool
from wsisr.writing.layouts.catalog import LAYOUTS

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="memfd exists on Linux only")

SIZE = Size(411, 290)
TILE_PX = 32
WORK = WorkFolder({"of": "this test"})

PARENT = """
from wsisr.writing import Codec
from wsisr.writing.encoding.encoder_pool import EncoderPool
import signal
import numpy as np
pool = EncoderPool(Codec(), 32, 2)
with pool.borrow_encoder() as one, pool.borrow_encoder() as other:
    for encoder in one, other:
        encoder.encode_tiles([np.zeros((32, 32, 3), np.uint8)])
print(pool._root_process.pid, flush=True)
signal.pause()
"""


def build_spec(codec: Codec) -> PyramidSpec:
    layout = next(name for name, layout in LAYOUTS.items() if codec.method in layout.codecs.values())
    return PyramidSpec(SIZE, 0.5, TILE_PX, codec=codec, layout=layout)


def write_image(path: Path, codec: Codec, processes: int) -> dict[str, bytes]:
    image = make_noise(SIZE)
    with PyramidWriter(path, build_spec(codec), encoder_processes=processes) as writer:
        for box in (Box(0, 0, 160, 290), Box(160, 0, 411, 290)):
            writer.write(box, image[box.rows, box.columns])
        deque(writer.finish(), 0)
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.mark.parametrize("method", COMPRESSION_METHODS)
def test_processes_write_the_same_file_as_threads(tmp_path: Path, method: str) -> None:
    by_threads, by_processes = (write_image(tmp_path / str(count), Codec(method), count) for count in (0, 2))
    assert by_threads == by_processes


def test_threads_encode_if_the_system_refuses_memory(tmp_path: Path) -> None:
    expected = write_image(tmp_path / "threads.ome.tif", Codec(), 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))  # of a file, and less than so many share
    try:
        assert start_encoder_pool(Codec(), TILE_PX, 16) is None
        assert write_image(tmp_path / "refused.ome.tif", Codec(), 16) == expected
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_killed_process_costs_no_finished_tile(tmp_path: Path) -> None:
    expected = write_image(tmp_path / "threads.ome.tif", Codec(), 0)["."]
    path, image = tmp_path / "again.ome.tif", make_noise(SIZE)
    first, second = Box(0, 0, 128, 290), Box(128, 0, 411, 290)
    with PyramidWriter(path, build_spec(Codec()), WORK, encoder_processes=1) as writer:
        writer.write(first, image[first.rows, first.columns])
        assert writer._encoder_pool is not None
        for pid in list_processes(writer._encoder_pool._root_process.pid):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(OutputError, match=r"was ended \(out of memory\?\); repeat the command"):
            writer.write(second, image[second.rows, second.columns])
    with PyramidWriter(path, build_spec(Codec()), WORK, encoder_processes=1) as writer:
        assert writer.has_tiles(first)
        writer.write(Box.from_size(SIZE), image)
        deque(writer.finish(), 0)
    assert path.read_bytes() == expected


def test_an_error_in_a_process_is_raised_in_the_parent_and_the_process_goes_on() -> None:
    pool = EncoderPool(Codec(), TILE_PX, 1)
    with pool.borrow_encoder() as encoder:
        with pytest.raises(ValueError, match="reshape"):
            encoder.encode_coarser([CoarserTile(16, 16, [FinerTile(0, 0, 16, 16, b"too few")])])
        code = bytes(encoder.encode_tiles([np.zeros((TILE_PX, TILE_PX, 3), np.uint8)])[0])
    pool.close()
    assert not Codec().decode(code, TILE_PX).any()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_processes_ignore_signals_that_their_parent_handles(sent: signal.Signals) -> None:
    pool = EncoderPool(Codec(), TILE_PX, 2)
    tile = make_noise(Size(TILE_PX, TILE_PX))
    with pool.borrow_encoder() as one, pool.borrow_encoder() as other:
        before = [bytes(encoder.encode_tiles([tile])[0]) for encoder in (one, other)]
        for pid in list_processes(pool._root_process.pid):
            os.kill(pid, sent)
        assert [bytes(encoder.encode_tiles([tile])[0]) for encoder in (one, other)] == before
    pool.close()


def test_processes_end_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        ends = [os.pidfd_open(pid) for pid in list_processes(int(parent.stdout.readline()))]
        parent.kill()
    for end in ends:
        assert select.select([end], [], [], PATIENCE_S)[0]
        os.close(end)


SCRIPT = """
from collections import deque
from pathlib import Path
import sys
import numpy as np
from wsisr.imaging.geometry import Box, Size
from wsisr.writing import PyramidSpec, PyramidWriter
print("once", flush=True)
size = Size(512, 512)
with PyramidWriter(Path(sys.argv[1]), PyramidSpec(size, 0.5, 256), encoder_processes=3) as writer:
    writer.write(Box.from_size(size), np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8))
    deque(writer.finish(), 0)
"""


def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(tmp_path / "a.ome.tif")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "once\n"
    assert (tmp_path / "a.ome.tif").exists()


def test_a_small_dev_shm_as_containers_have_it_is_enough(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    mount = "mount -t tmpfs -o size=64k tmpfs /dev/shm"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("no other /dev/shm can be mounted here")
    command = f"{mount} && {sys.executable} {script} {tmp_path / 'a.ome.tif'}"
    subprocess.run(["unshare", "-m", "sh", "-c", command], check=True, capture_output=True)
    assert (tmp_path / "a.ome.tif").exists()


def test_no_process_loads_torch() -> None:
    torch = pytest.importorskip("torch")
    assert torch.ones(1).sum() == 1
    pool = EncoderPool(Codec(), TILE_PX, 2)
    with pool.borrow_encoder() as encoder:
        encoder.encode_tiles([make_noise(Size(TILE_PX, TILE_PX))])
        libraries = [Path(f"/proc/{pid}/maps").read_text() for pid in list_processes(pool._root_process.pid)]
    pool.close()
    assert len(libraries) == 3
    assert all("numpy" in text and "libtorch" not in text for text in libraries)
    assert "libtorch" in Path("/proc/self/maps").read_text()


def list_processes(root: int) -> list[int]:
    """Return the pids of the root process and of those it has forked."""
    children = Path(f"/proc/{root}/task/{root}/children")
    return [root, *map(int, children.read_text().split())]
