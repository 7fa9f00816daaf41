"""A lock on a folder that ends with its process, with a heartbeat for disks whose locks other machines cannot see.

On most file systems, NFS among them, every machine sees the locks; on some mounts, only the machine that took them. So
the lock file also names its holder, who touches it while it runs. Its age is measured by the disk's clock alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

from wsisr.errors import OutputError
from wsisr.parallel.threads import translate_shortage

HEARTBEAT_S = 20.0

DEAD_AFTER_S = 120.0
"""Seconds without a heartbeat after which the holder counts as dead; a slow disk may delay several heartbeats."""

_HOLDER_KEYS = {"host", "boot", "pid"}

_RELEASED = b'{"released by": "wsisr"}'
"""Content of a lock that nobody holds."""

_FILE_BYTES = 512
"""Size of a lock file: one disk sector, more than a host name, a boot id and a process id need."""

_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


class FolderLock:
    """A lock that is held from its creation until `release`, or until its process ends."""

    def __init__(self, path: Path, output: Path) -> None:
        """Create and lock the file `path`.

        Raises `OutputError` about the output if a running process holds it, `FileNotFoundError` if its folder has been
        removed, `OSError` for other disk errors.
        """
        self._file = _lock_file(path, output)
        try:
            self._take_over(output)
        except (OSError, OutputError):
            os.close(self._file)
            raise
        self._released = Event()
        self._heartbeat = Thread(target=self._send_heartbeats, name="wsisr-lease", daemon=True)
        with translate_shortage():
            self._heartbeat.start()

    @property
    def is_stale(self) -> bool:
        """Whether the last holder removed the file between our opening it and our locking it."""
        return os.fstat(self._file).st_nlink == 0

    def release(self) -> None:
        """Give up the lock; without a holder in it, other machines do not wait for another heartbeat."""
        self._released.set()
        self._heartbeat.join()
        with suppress(OSError):
            _replace_content(self._file, _RELEASED)
        os.close(self._file)

    def _take_over(self, output: Path) -> None:
        """Enter this process as the holder, unless another machine's holder sent a heartbeat recently."""
        holder, last_heartbeat_ns = _read_holder(self._file), os.fstat(self._file).st_mtime_ns
        os.utime(self._file)  # sets the disk's own time, so that clocks of two machines are never compared
        age = (os.fstat(self._file).st_mtime_ns - last_heartbeat_ns) / 1e9
        if _is_on_another_machine(holder) and age < DEAD_AFTER_S:
            if age >= 0:
                os.utime(self._file, ns=(last_heartbeat_ns, last_heartbeat_ns))
            # A heartbeat of the future says nothing of its age: it counts as one of now, for which no one waits longer
            # than for any other. Whoever lives sends the next one meanwhile.
            age = max(age, 0)
            raise OutputError(
                f"{output}: {holder['host']} was writing it {age:.0f} s ago; if that run has died, repeat in "
                f"{DEAD_AFTER_S - age:.0f} s"
            )
        holder_now = {"host": socket.gethostname(), "boot": _read_boot_id(), "pid": os.getpid()}
        _replace_content(self._file, json.dumps(holder_now).encode())

    def _send_heartbeats(self) -> None:
        while not self._released.wait(HEARTBEAT_S):
            with suppress(OSError):  # the writer of tiles will meet and report the same error
                os.utime(self._file)


def _lock_file(path: Path, output: Path) -> int:
    """Open and lock a file; return its descriptor."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = _read_holder(file)
        os.close(file)
        if holder.get("pid") == str(os.getpid()) and not _is_on_another_machine(holder):
            raise OutputError(
                f"{output}: this process is writing it already, in a run that was not finished; go on with that one, "
                "or close() the iterator that it returned"
            ) from error
        process = f", process {holder.get('pid')} on {holder.get('host')}" if holder else ""
        raise OutputError(
            f"{output}: another run is writing it now{process}; wait for it or choose another name"
        ) from error
    except OSError:
        os.close(file)
        raise
    return file


def is_lock_of_wsisr(path: Path) -> bool:
    """Return whether a file is a lock that was ever taken here, by what it says; a link is none."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        content = os.pread(file, _FILE_BYTES, 0).rstrip() if stat.S_ISREG(os.fstat(file).st_mode) else b""
        return content == _RELEASED or _parse_holder(content).keys() == _HOLDER_KEYS
    finally:
        os.close(file)


def _replace_content(file: int, content: bytes) -> None:
    """Replace the content of a lock file in one call: by its content it is known to be ours, also after a kill."""
    os.pwrite(file, content.ljust(_FILE_BYTES), 0)


def _read_holder(file: int) -> dict[str, str]:
    """Return the holder that a lock file names; empty if it names none, or was killed while it wrote its name."""
    return _parse_holder(os.pread(file, _FILE_BYTES, 0))


def _parse_holder(content: bytes) -> dict[str, str]:
    try:
        holder = json.loads(content)
    except ValueError:
        return {}
    is_holder = isinstance(holder, dict) and holder.keys() == _HOLDER_KEYS
    return {key: str(value) for key, value in holder.items()} if is_holder else {}


def _is_on_another_machine(holder: dict[str, str]) -> bool:
    """Return whether a holder runs on another machine, by host name and boot id; on this one, its lock would show."""
    return bool(holder) and holder.get("host") != socket.gethostname() and holder.get("boot") != _read_boot_id()


def _read_boot_id() -> str:
    """Return the id of the running system, or its host name. Containers of one machine share the id and the locks."""
    try:
        return _BOOT_ID_FILE.read_text().strip()
    except OSError:
        return socket.gethostname()
