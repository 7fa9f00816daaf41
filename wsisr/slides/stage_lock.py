"""A lock on the copies of one run. It ends with its process, so that the next run can tell what a killed one left."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import socket
from contextlib import suppress
from pathlib import Path

from wsisr.files import translate_disk_errors
from wsisr.slides.listing import STAGE_PREFIX, is_stage_folder

_MARK = ".wsisr-stage.json"
"""File in a folder of copies that names its lock and the machine."""

_LOCK_NAME = re.compile(re.escape(STAGE_PREFIX) + r"[0-9a-f]{16}\.lock")

_MOST_MARK_BYTES = 4096


class StageLock:
    """A lock that is held from its creation until `release`, or until its process ends."""

    def __init__(self, folder: Path) -> None:
        """Create and lock a file in the folder of all copies. Raises `OutputError` if none can be created."""
        self._path = folder / f"{STAGE_PREFIX}{secrets.token_hex(8)}.lock"
        with translate_disk_errors(folder):
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._is_locked = _try_lock(self._file)

    def mark(self, copies: Path) -> None:
        """Mark a folder of copies as one of this lock; where the disk has no locks, none is, and none is swept."""
        if self._is_locked:
            (copies / _MARK).write_text(json.dumps({"lock": self._path.name, "host": socket.gethostname()}))

    def is_held_by_other(self, copies: Path) -> bool:
        """Return whether another run is at work with a folder of copies."""
        name = _read_mark(copies).get("lock", "")
        return name not in ("", self._path.name) and _is_held(copies.parent / name)

    def release(self) -> None:
        """Give up the lock, once all copies are removed."""
        with suppress(OSError):
            self._path.unlink()
        os.close(self._file)


def remove_stale_copies(folder: Path) -> None:
    """Remove what killed runs of this machine left: marked folders, no links, whose lock nobody holds, and the locks.

    What cannot be removed stays.
    """
    with suppress(OSError):
        names = {path: _read_mark(path) for path in folder.iterdir() if is_stage_folder(path)}
        for path, mark in names.items():
            if mark and mark["host"] == socket.gethostname() and not _is_held(folder / mark["lock"]):
                shutil.rmtree(path, ignore_errors=True)
                with suppress(OSError):
                    (folder / mark["lock"]).unlink()


def _read_mark(copies: Path) -> dict[str, str]:
    """Return the lock and the host that a folder's mark names; empty without a mark of ours."""
    try:
        file = os.open(copies / _MARK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return {}
    try:
        mark = json.loads(os.read(file, _MOST_MARK_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    finally:
        os.close(file)
    is_ours = isinstance(mark, dict) and mark.keys() == {"lock", "host"}
    return mark if is_ours and _LOCK_NAME.fullmatch(str(mark["lock"])) else {}


def _is_held(lock: Path) -> bool:
    """Return whether a running process holds a lock; where that cannot be told, it does."""
    try:
        file = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        return not _try_lock(file)
    finally:
        os.close(file)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
