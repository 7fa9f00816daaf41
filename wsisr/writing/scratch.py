"""The folder `OUTPUT.wsisr-part` of an output in the making: one process holds it, by a lock that dies with it.

Its `run.json` says of what run it is, so that the same run can go on in it and no other does.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from wsisr.errors import OutputError
from wsisr.files import write_whole

_LOCK = "lock"
_RUN = "run.json"
_FILES = ("level-*.tiles", "level-*.journal", "image.tif", f"{_RUN}*")

Identity = Mapping[str, str]
"""What a run's pixels depend on, in words: names to values."""


class Scratch:
    """A claimed folder. Methods raise `OSError` where the disk refuses; files that are not ours stay."""

    def __init__(self, output: Path, parent: Path | None = None) -> None:
        """Claim the folder, beside the output or in `parent`. Raises `OutputError` where a living run holds it."""
        self.folder = (parent or output.parent) / f"{output.name}.wsisr-part"
        self._lock = _claim(self.folder, output)

    @property
    def holds_work(self) -> bool:
        """Whether a run left work that it can go on from."""
        return (self.folder / _RUN).exists()

    def take_up(self, identity: Identity | None, *, restart: bool) -> None:
        """Drop what a dead run left here, unless it is of the same identity.

        Raises `OutputError` where it is of another that could go on, and `restart` does not allow to drop that.
        """
        found = _read(self.folder / _RUN)
        if found is not None and found == identity:
            return
        if found is not None and not restart:
            raise OutputError(f"{self.folder}: {_difference(found, identity or {})}; {_ADVICE}")
        self._clear()
        if identity is not None:
            write_whole(self.folder / _RUN, [json.dumps(dict(identity), indent=2).encode()])

    def level(self, level: int) -> Path:
        """File for the tiles of a level."""
        return self.folder / f"level-{level}.tiles"

    def journal(self, level: int) -> Path:
        """File for the record of these tiles."""
        return self.folder / f"level-{level}.journal"

    @property
    def image(self) -> Path:
        """File for the result before it gets its name."""
        return self.folder / "image.tif"

    def leave(self, *, keep: bool) -> None:
        """Give the folder up, and remove it as far as the disk lets us unless its work is kept for another run.

        The lock goes last: until then nobody else may write here.
        """
        with suppress(OSError):
            if keep:
                self.image.unlink(missing_ok=True)
            else:
                self._clear()
                (self.folder / _LOCK).unlink()
                self.folder.rmdir()
        os.close(self._lock)

    def _clear(self) -> None:
        for pattern in _FILES:
            for file in self.folder.glob(pattern):
                file.unlink()


_ADVICE = "repeat the command of then, or start again with --overwrite"


def _read(path: Path) -> Identity | None:
    """None where there is none, or none that is whole."""
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _difference(found: Identity, identity: Identity) -> str:
    """The first of what differs."""
    name = next(name for name in [*identity, *found] if found.get(name) != identity.get(name))
    before, now = found.get(name, "not given"), identity.get(name, "not given")
    return f"holds the work of a run that was stopped, with {name} {before}, now {now}"


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
