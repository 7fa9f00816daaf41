"""The folder `OUTPUT.wsisr-part` of an output in the making: one process holds it.

Its `run.json` says of what run it is, so that the same run can go on in it and no other does.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from wsisr.errors import OutputError
from wsisr.files import ASIDE, remove, write_whole
from wsisr.writing.workdir.lock import Lease

_LOCK = "lock"
_RUN = "run.json"
_IMAGE = "image"
_FILES = ("level-*.tiles", "level-*.journal", "diary", "dataset", _IMAGE, ASIDE, f"{_RUN}*")

Identity = Mapping[str, str]
"""What a run's pixels depend on, in words: names to values."""


class Scratch:
    """A claimed folder. Methods raise `OSError` where the disk refuses; files that are not ours stay."""

    def __init__(self, output: Path, parent: Path | None = None) -> None:
        """Claim the folder, beside the output or in `parent`. Raises `OutputError` where a living run holds it."""
        self.folder = _folder(output, parent or output.parent)
        self._lease = _claim(self.folder, output)

    @staticmethod
    def left(output: Path, parent: Path) -> Identity | None:
        """Of the run whose work lies there; None where none does."""
        return _read(_folder(output, parent) / _RUN)

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
    def diary(self) -> Path:
        """File for what a run finds out besides pixels."""
        return self.folder / "diary"

    @property
    def image(self) -> Path:
        """File or folder for the result before it gets its name."""
        return self.folder / _IMAGE

    def leave(self, *, keep: bool) -> None:
        """Give the folder up, and remove it as far as the disk lets us unless its work is kept for another run.

        The lock goes last: until then nobody else may write here.
        """
        with suppress(OSError):
            if keep:
                remove(self.image)
            else:
                self._clear()
                (self.folder / _LOCK).unlink()
                self.folder.rmdir()
        self._lease.end()

    def _clear(self) -> None:
        for pattern in _FILES:
            for file in self.folder.glob(pattern):
                remove(file)


_ADVICE = "repeat the command of then, or start again with --overwrite"


def _folder(output: Path, parent: Path) -> Path:
    """Elsewhere than beside the output, where there may be work of others of its name, with a few signs of its own."""
    if parent.samefile(output.parent):
        return parent / f"{output.name}.wsisr-part"
    place = hashlib.sha256(os.fsencode(output.resolve())).hexdigest()[:8]
    return parent / f"{output.name}.{place}.wsisr-part"


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


def _claim(folder: Path, output: Path) -> Lease:
    while True:
        folder.mkdir(exist_ok=True)
        try:
            lease = Lease(folder / _LOCK, output)
        except FileNotFoundError:
            continue  # its owner removed the folder since the line above
        if not lease.lost:
            return lease
        lease.end()
