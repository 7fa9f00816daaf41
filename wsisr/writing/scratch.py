"""The folder `OUTPUT.wsisr-part` beside an output in the making: one process holds it, by a lock that dies with it."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from wsisr.errors import OutputError

_LOCK = "lock"
_FILES = ("level-*.tiles", "image.tif")


class Scratch:
    """A claimed scratch folder. What a dead run left in it is gone; files that are not ours stay."""

    def __init__(self, output: Path) -> None:
        """Claim the folder. Raises `OutputError` where a living run holds it, `OSError` where the disk refuses."""
        self.folder = output.with_name(f"{output.name}.wsisr-part")
        self._lock = _claim(self.folder, output)
        try:
            self._clear()
        except OSError:
            os.close(self._lock)
            raise

    def level(self, level: int) -> Path:
        """File for the tiles of a level."""
        return self.folder / f"level-{level}.tiles"

    @property
    def image(self) -> Path:
        """File for the result before it gets its name."""
        return self.folder / "image.tif"

    def remove(self) -> None:
        """Give the folder up, as far as the disk lets us. The lock goes last: until then nobody else may write here."""
        with suppress(OSError):
            self._clear()
        with suppress(OSError):
            (self.folder / _LOCK).unlink()
            self.folder.rmdir()
        os.close(self._lock)

    def _clear(self) -> None:
        for pattern in _FILES:
            for file in self.folder.glob(pattern):
                file.unlink()


def _claim(folder: Path, output: Path) -> int:
    """Descriptor of the locked lock file."""
    while True:
        folder.mkdir(exist_ok=True)
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            continue  # its owner removed the folder since the line above
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise OutputError(f"{output}: another run is writing it now; wait for it or choose another name") from error
        except OSError:
            os.close(lock)
            raise
        if os.fstat(lock).st_nlink > 0:
            return lock
        os.close(lock)  # its owner removed the file between our open and our lock
