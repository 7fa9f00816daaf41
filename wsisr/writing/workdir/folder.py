"""The folder `OUTPUT.wsisr-part` that holds an unfinished output; one process at a time owns it.

Its `run.json` states the identity of the run, so that only the same run resumes in it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from wsisr.errors import OutputError
from wsisr.files import REPLACED_FOLDER, remove_path, write_atomically
from wsisr.writing.workdir.lock import FolderLock

_LOCK = "lock"
_RUN = "run.json"
_IMAGE = "image"
_FILES = ("level-*.tiles", "level-*.journal", "diary", "dataset", _IMAGE, REPLACED_FOLDER, f"{_RUN}*")

RunIdentity = Mapping[str, str]
"""Everything that a run's pixels depend on, as text: names to values."""


class PartFolder:
    """A claimed work folder. Methods raise `OSError` for disk errors; files of other programs are never removed."""

    def __init__(self, output: Path, parent: Path | None = None) -> None:
        """Claim the folder, beside the output or in `parent`. Raises `OutputError` if a running process owns it."""
        self.folder = _folder_path(output, parent or output.parent)
        self._lock = _claim_folder(self.folder, output)

    @staticmethod
    def read_identity(output: Path, parent: Path) -> RunIdentity | None:
        """Return the identity of the run whose work is in the folder of an output; None if there is none."""
        return _read_identity(_folder_path(output, parent) / _RUN)

    @property
    def has_work(self) -> bool:
        """Whether a run left work that it can resume from."""
        return (self.folder / _RUN).exists()

    def resume_or_clear(self, identity: RunIdentity | None, *, restart: bool) -> None:
        """Keep the work of a stopped run of the same identity; remove any other work.

        Raises `OutputError` if a run of another identity could resume from the work, unless `restart`.
        """
        stored = _read_identity(self.folder / _RUN)
        if stored is not None and stored == identity:
            return
        if stored is not None and not restart:
            raise OutputError(f"{self.folder}: {_describe_difference(stored, identity or {})}; {_ADVICE}")
        self._remove_files()
        if identity is not None:
            write_atomically(self.folder / _RUN, [json.dumps(dict(identity), indent=2).encode()])

    def tiles_path(self, level: int) -> Path:
        """File for the encoded tiles of a level."""
        return self.folder / f"level-{level}.tiles"

    def journal_path(self, level: int) -> Path:
        """File for the journal of a level's tiles."""
        return self.folder / f"level-{level}.journal"

    @property
    def run_log_path(self) -> Path:
        """File for the run log."""
        return self.folder / "diary"

    @property
    def image_path(self) -> Path:
        """File or folder for the assembled result before it is published."""
        return self.folder / _IMAGE

    def release(self, *, keep: bool) -> None:
        """Release the folder; remove it as far as possible, or with `keep` leave its tiles for a later run.

        The lock file is removed last: until then no other process may write here.
        """
        with suppress(OSError):
            if keep:
                remove_path(self.image_path)
            else:
                self._remove_files()
                (self.folder / _LOCK).unlink()
                self.folder.rmdir()
        self._lock.release()

    def _remove_files(self) -> None:
        for pattern in _FILES:
            for file in self.folder.glob(pattern):
                remove_path(file)


_ADVICE = "repeat the command of that run, or start again with --overwrite"


def _folder_path(output: Path, parent: Path) -> Path:
    """Return the work folder of an output.

    In a folder other than the output's, outputs of the same name may meet: a hash of the full path tells them apart.
    """
    if parent.samefile(output.parent):
        return parent / f"{output.name}.wsisr-part"
    path_hash = hashlib.sha256(os.fsencode(output.resolve())).hexdigest()[:8]
    return parent / f"{output.name}.{path_hash}.wsisr-part"


def _read_identity(path: Path) -> RunIdentity | None:
    """Return the stored identity; None if there is no such file or it is incomplete."""
    try:
        identity = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return identity if isinstance(identity, dict) else None


def _describe_difference(stored: RunIdentity, identity: RunIdentity) -> str:
    """Return the first entry in which two identities differ, as text."""
    name = next(name for name in [*identity, *stored] if stored.get(name) != identity.get(name))
    before, now = stored.get(name, "not given"), identity.get(name, "not given")
    return f"holds the work of a stopped run with {name} {before}, now {now}"


def _claim_folder(folder: Path, output: Path) -> FolderLock:
    while True:
        folder.mkdir(exist_ok=True)
        try:
            lease = FolderLock(folder / _LOCK, output)
        except FileNotFoundError:
            continue  # its former owner removed the folder between mkdir and locking
        if not lease.is_stale:
            return lease
        lease.release()
