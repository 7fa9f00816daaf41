import errno
import os
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.support.disks import limit_file_size, run_as_nobody
from wsisr.errors import OutputError
from wsisr.files import check_output, publish_output
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.writing.encoding.codec import Codec
from wsisr.writing.pyramid import PyramidWriter
from wsisr.writing.spec import PyramidSpec

SPEC = PyramidSpec(Size(160, 160), 0.25, tile_px=16, codec=Codec(quality=95))


def noise() -> Rgb:
    return np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)


def write(path: Path, *, overwrite: bool = False) -> None:
    with PyramidWriter(path, SPEC, overwrite=overwrite) as writer:
        writer.write(Box.from_size(SPEC.size), noise())
        deque(writer.finish())


def check_one_line(error: pytest.ExceptionInfo[OutputError], path: Path) -> str:
    line = str(error.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image.ome.tif"


def test_an_output_that_appears_after_the_last_look_is_not_replaced(path: Path, tmp_path: Path) -> None:
    finished = tmp_path / "finished"
    finished.write_text("ours")
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        publish_output(finished, path, overwrite=False)
    assert path.read_text() == "mine"


def test_an_output_is_replaced_where_that_is_asked_for(path: Path) -> None:
    path.write_text("old")
    write(path, overwrite=True)
    assert path.read_bytes()[:2] == b"II"
    assert list(path.parent.iterdir()) == [path]


def test_files_that_are_not_ours_stay(path: Path) -> None:
    folder = path.with_name(path.name + ".wsisr-part")
    with PyramidWriter(path, SPEC) as writer:
        (folder / "notes.txt").write_text("mine")
        (folder / "dataset").mkdir()
        writer.write(Box.from_size(SPEC.size), noise())
        deque(writer.finish())
    assert sorted(entry.name for entry in folder.iterdir()) == ["dataset", "notes.txt"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "image.tif"
    with pytest.raises(OutputError) as error:
        write(path)
    assert "create it" in check_one_line(error, path)


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_or_a_device_is_no_output(tmp_path: Path, overwrite: bool) -> None:
    for path in (tmp_path, Path(os.devnull)):
        with pytest.raises(OutputError) as error:
            check_output(path, overwrite=overwrite)
        check_one_line(error, path)


def test_a_folder_without_permission_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder, run_as_nobody():
        path = Path(folder) / "image.tif"
        with pytest.raises(OutputError) as error:
            write(path)
        assert "permission denied; choose a folder" in check_one_line(error, path)


@pytest.mark.parametrize("share", [0.3, 1.01], ids=["while tiles come in", "while the file is assembled"])
def test_a_file_that_may_not_grow_is_one_line_and_leaves_nothing(path: Path, share: float) -> None:
    with PyramidWriter(path, SPEC) as writer:
        writer.write(Box.from_size(SPEC.size), noise())
        level_0 = writer.bytes_written
    with limit_file_size(int(share * level_0)), pytest.raises(OutputError) as error:
        write(path)
    assert os.strerror(errno.EFBIG).lower() in check_one_line(error, path)
    assert list(path.parent.iterdir()) == []


@contextmanager
def mount_disk(size: int, folder: Path) -> Iterator[None]:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no small disk can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("size", range(40_960, 250_000, 40_960))
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, size: int) -> None:
    path = tmp_path / "image.tif"
    with mount_disk(size, tmp_path):
        with pytest.raises(OutputError) as error:
            write(path)
        assert "no space left on device; free some space" in check_one_line(error, path)
        assert list(tmp_path.iterdir()) == []
