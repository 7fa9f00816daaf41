"""Laws of the lock on a work folder: one running process at a time, and a dead one does not block for long."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.samples import REPOSITORY
from wsisr.errors import OutputError
from wsisr.writing.workdir.lock import DEAD_AFTER_S, FolderLock

OUTPUT = Path("slide.tif")
ELSEWHERE = {"host": "another-host", "boot": "another-boot", "pid": 1}


def write_lock(path: Path, holder: dict[str, object], seconds_ago: float) -> Path:
    """Write a lock file whose holder is not on this machine, or dead."""
    path.write_text(json.dumps(holder))
    mtime = path.stat().st_mtime - seconds_ago
    os.utime(path, (mtime, mtime))
    return path


def test_the_second_of_two_runs_is_told_which_process_is_first(tmp_path: Path) -> None:
    first = FolderLock(tmp_path / "lock", OUTPUT)
    program = f"from wsisr.writing.workdir.lock import *; FolderLock(Path({str(tmp_path / 'lock')!r}), Path('o.tif'))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert f"o.tif: another run is writing it now, process {os.getpid()} on" in done.stderr
    first.release()
    FolderLock(tmp_path / "lock", OUTPUT).release()


def test_a_run_that_this_process_left_open_is_told_from_another_process(tmp_path: Path) -> None:
    first = FolderLock(tmp_path / "lock", OUTPUT)
    with pytest.raises(OutputError, match="this process is writing it already"):
        FolderLock(tmp_path / "lock", OUTPUT)
    first.release()


def test_a_recent_heartbeat_from_another_machine_blocks(tmp_path: Path) -> None:
    lock = write_lock(tmp_path / "lock", ELSEWHERE, 30)
    for _ in range(2):  # asking does not make it younger
        with pytest.raises(OutputError, match=r"another-host was writing it 3\d s ago; .* repeat in [89]\d s"):
            FolderLock(lock, OUTPUT)


def test_a_heartbeat_from_the_future_blocks_no_longer_than_one_of_now(tmp_path: Path) -> None:
    lock = write_lock(tmp_path / "lock", ELSEWHERE, -1e6)
    with pytest.raises(OutputError, match=r"another-host was writing it 0 s ago; .* repeat in 120 s"):
        FolderLock(lock, OUTPUT)
    assert abs(lock.stat().st_mtime - write_lock(tmp_path / "now", ELSEWHERE, 0).stat().st_mtime) < DEAD_AFTER_S
    with pytest.raises(OutputError, match=r"repeat in 1[12]\d s"):
        FolderLock(lock, OUTPUT)


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        FolderLock(tmp_path / "lock", OUTPUT)
    assert not (tmp_path / "precious").exists()


def test_a_run_that_died_on_another_machine_blocks_for_two_minutes_only(tmp_path: Path) -> None:
    FolderLock(write_lock(tmp_path / "lock", ELSEWHERE, DEAD_AFTER_S + 1), OUTPUT).release()


@pytest.mark.parametrize("holder", [{"host": socket.gethostname(), "boot": "before a power cut", "pid": 1}, {}])
def test_a_run_that_died_on_this_machine_never_blocks_even_if_its_pid_is_reused(
    tmp_path: Path, holder: dict[str, object]
) -> None:
    FolderLock(write_lock(tmp_path / "lock", holder, 1), OUTPUT).release()


def test_a_killed_run_never_blocks(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from wsisr.writing.workdir.lock import FolderLock
lock = FolderLock(Path({str(tmp_path / "lock")!r}), Path("slide.tif"))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=False).returncode == -9
    assert json.loads((tmp_path / "lock").read_text())["host"] == socket.gethostname()
    FolderLock(tmp_path / "lock", OUTPUT).release()


def test_a_released_lock_names_no_holder_so_that_no_machine_waits(tmp_path: Path) -> None:
    FolderLock(tmp_path / "lock", OUTPUT).release()
    assert json.loads((tmp_path / "lock").read_text()) == {"released by": "wsisr"}
