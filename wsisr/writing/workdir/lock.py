"""A process's hold on a folder, by a lock that dies with it, and by a beat where locks do not reach other machines.

Locks of most file systems, NFS among them, are seen by every machine; those of some mounts only by their own. So the
lock file names its holder, who touches it while it lives. Ages are told by the clock of the disk alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

from wsisr.errors import OutputError

BEAT_S = 20.0

DEAD_AFTER_S = 120.0
"""Seconds without a beat; several must be missed, for a disk may be slow."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Lease:
    """Held from the start until `end`, or until its process dies."""

    def __init__(self, path: Path, output: Path) -> None:
        """Takes the lock file of that path, which is made. Raises `OutputError` about the output where a living run
        holds it, `FileNotFoundError` where its folder went away, `OSError` where the disk refuses."""
        self._file = _locked(path, output)
        try:
            self._take_over(output)
        except (OSError, OutputError):
            os.close(self._file)
            raise
        self._ended = Event()
        self._heart = Thread(target=self._beat, name="wsisr-lease", daemon=True)
        self._heart.start()

    @property
    def lost(self) -> bool:
        """Whether the file was removed by its last holder between our finding and our locking it."""
        return os.fstat(self._file).st_nlink == 0

    def end(self) -> None:
        """Nobody need wait for a beat of ours any more."""
        self._ended.set()
        self._heart.join()
        with suppress(OSError):
            os.ftruncate(self._file, 0)
        os.close(self._file)

    def _take_over(self, output: Path) -> None:
        holder, before = _holder(self._file), os.fstat(self._file).st_mtime_ns
        os.utime(self._file)
        age = (os.fstat(self._file).st_mtime_ns - before) / 1e9
        if _elsewhere(holder) and age < DEAD_AFTER_S:
            os.utime(self._file, ns=(before, before))
            raise OutputError(
                f"{output}: {holder['host']} was writing it {max(age, 0):.0f} s ago; if that run has died, repeat in "
                f"{DEAD_AFTER_S - age:.0f} s"
            )
        os.ftruncate(self._file, 0)
        os.pwrite(
            self._file, json.dumps({"host": socket.gethostname(), "boot": _boot(), "pid": os.getpid()}).encode(), 0
        )

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            with suppress(OSError):  # what the disk refuses now, the work itself will meet
                os.utime(self._file)


def _locked(path: Path, output: Path) -> int:
    """Descriptor of the locked file."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = _holder(file)
        os.close(file)
        who = f", process {holder.get('pid')} on {holder.get('host')}" if holder else ""
        raise OutputError(
            f"{output}: another run is writing it now{who}; wait for it or choose another name"
        ) from error
    except OSError:
        os.close(file)
        raise
    return file


def _holder(file: int) -> dict[str, str]:
    """Who wrote a lock file; empty where nobody did, or who had time for half of it."""
    try:
        found = json.loads(os.pread(file, 4096, 0))
    except ValueError:
        return {}
    return {key: str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _elsewhere(holder: dict[str, str]) -> bool:
    """Whether a holder lives on another machine, as name and boot tell; on this one, its lock would tell."""
    return bool(holder) and holder.get("host") != socket.gethostname() and holder.get("boot") != _boot()


def _boot() -> str:
    """Of the running system, where it tells: containers of one machine share it, and its locks."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return socket.gethostname()
