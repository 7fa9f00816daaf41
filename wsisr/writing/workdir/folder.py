"""The folder `OUTPUT.wsisr-part` that holds an unfinished output; one process at a time owns it.

Its `run.json` states the identity of the run, so that only the same run resumes in it. Any other folder of that name is
refused: one without our lock, one that is a symbolic link, and one with links in the place of our files.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Set
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from wsisr.errors import OutputError, OutputNameError
from wsisr.files import REPLACED_FOLDER, remove_path
from wsisr.remote.path import is_url
from wsisr.writing.workdir.lock import FolderLock, is_lock_of_wsisr
from wsisr.writing.workdir.run_record import RunIdentity, RunRecord, RunSource, read_run_record

DATASET_FOLDER = "dataset"
"""Name of a growing dataset within its work folder."""

_LOCK = "lock"
_RUN = "run.json"
_RUN_LOG = "diary"
_IMAGE = "image"

_OWN_FILES = re.compile(rf"level-\d+(-halved)?\.(tiles|journal)|{_RUN_LOG}|{_IMAGE}|{re.escape(_RUN)}(\.\d+\.partial)?")

_NFS_PREFIX = ".nfs"
"""Begins the name that NFS gives to a file that is removed while it is open."""


class PartFolder:
    """A claimed work folder. Methods raise `OSError` for disk errors; files of other programs are never removed."""

    def __init__(self, output: Path, parent: Path | None = None, content: str = _IMAGE) -> None:
        """Claim the folder, beside the output or in `parent`. `content` is the name of the result that grows in it.

        Raises `OutputError` if a running process owns it, and if it is no work folder of ours; for a URL without
        `parent`, too.
        """
        if parent is None and is_url(output):
            raise OutputNameError(f"{output}: finished tiles are kept on this machine; give a folder with --work-dir")
        self.folder = _folder_path(output, parent or output.parent)
        self._own_folders = (content, REPLACED_FOLDER)
        self._record: RunRecord | None = None
        self._lock = _claim_folder(self.folder, output, self._own_folders)

    @staticmethod
    def exists(output: Path, parent: Path) -> bool:
        """Return whether there is a folder, ours or not, at the place of an output's work folder."""
        return _folder_path(output, parent).is_dir()

    @property
    def has_work(self) -> bool:
        """Whether a run left work that it can resume from."""
        return (self.folder / _RUN).exists()

    def is_leftover_of(self, identity: RunIdentity | None) -> bool:
        """Return whether the folder holds only work of a run of that identity, or nothing but its lock."""
        stored = read_run_record(self.folder / _RUN)
        return stored.identity == identity if stored is not None else _list_names(self.folder) <= {_LOCK}

    def resume_or_clear(self, identity: RunIdentity | None, source: RunSource | None = None, *, restart: bool) -> None:
        """Keep the work of a stopped run of the same identity and source; remove any other work.

        Raises `OutputError` if another run could resume from the work, unless `restart`, and what hashes the source.
        """
        stored, difference = read_run_record(self.folder / _RUN), None
        if stored is not None:
            difference = stored.describe_difference(identity, source)
            if difference and not restart:
                raise _make_foreign_work_error(self.folder, difference)
        if difference or stored is None:
            self._remove_files()
        if identity is not None:
            digest = stored.source_sha256 if stored and not difference else None
            self._record = RunRecord(identity, source.state if source else None, digest)
            if self._record != stored:
                self._record.write(self.folder / _RUN)

    def record_source_digest(self, sha256: str | None) -> None:
        """Add the digest of the run's source to its record, if it keeps one."""
        if self._record is not None and sha256 is not None:
            self._record = replace(self._record, source_sha256=sha256)
            self._record.write(self.folder / _RUN)

    def tiles_path(self, level: int) -> Path:
        """File for the encoded tiles of a level."""
        return level_tiles_path(self.folder, level)

    def journal_path(self, level: int) -> Path:
        """File for the journal of a level's tiles."""
        return level_journal_path(self.folder, level)

    def halves_path(self, level: int) -> Path:
        """File for the halved tiles of a level whose neighbours are still to come."""
        return self.folder / f"level-{level}-halved.tiles"

    def halves_journal_path(self, level: int) -> Path:
        """File for the journal of a level's halved tiles."""
        return self.folder / f"level-{level}-halved.journal"

    @property
    def run_log_path(self) -> Path:
        """File for the run log."""
        return self.folder / _RUN_LOG

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
        if not keep:
            with suppress(OSError):  # on NFS the folder is empty only now that the lock file is closed
                self.folder.rmdir()

    def _remove_files(self) -> None:
        """Remove what a run left here: files of our names, and folders of the names that hold this kind of result."""
        for entry in _list_own_entries(self.folder, self._own_folders):
            if not entry.is_dir() or entry.name in self._own_folders:
                remove_path(entry)


def level_tiles_path(folder: Path, level: int) -> Path:
    """Return the file for the encoded tiles of a level in a work folder."""
    return folder / f"level-{level}.tiles"


def level_journal_path(folder: Path, level: int) -> Path:
    """Return the file for the journal of a level's tiles in a work folder."""
    return folder / f"level-{level}.journal"


def run_record_path(folder: Path) -> Path:
    """Return the file of the run's record in a work folder."""
    return folder / _RUN


_ADVICE = "repeat the command of that run, or start again with --overwrite"


def _make_foreign_work_error(folder: Path, difference: str) -> OutputError:
    return OutputError(f"{folder}: holds the work of a stopped run with {difference}; {_ADVICE}")


def check_left_work(folder: Path, identity: RunIdentity | None, source: RunSource | None) -> bool:
    """Return whether a folder holds work from which a run of that identity and source would resume; claim nothing.

    Raises `OutputError` for the work of another run, `OSError` for disk errors, and what hashes the source.
    """
    stored = read_run_record(folder / _RUN)
    if stored is None:
        return False
    difference = stored.describe_difference(identity, source)
    if difference:
        raise _make_foreign_work_error(folder, difference)
    return True


def list_work_folders(output: Path, parent: Path | None = None) -> list[Path]:
    """Return where work on an output may lie: beside it, and in `parent` if given. Raises `OSError`."""
    return [_folder_path(output, folder) for folder in list_work_parents(output, parent)]


def list_work_parents(output: Path, parent: Path | None) -> list[Path]:
    """Return the folders of this machine that may hold work on an output, the most likely one last."""
    if is_url(output):
        return [parent] if parent else []
    return list(dict.fromkeys((output.parent, parent or output.parent)))


def has_work_folder(output: Path, parent: Path | None = None) -> bool:
    """Return whether there may be work on an output that an earlier run left; it is not looked into."""
    try:
        return any(folder.exists() for folder in list_work_folders(output, parent))
    except OSError:
        return True


def _folder_path(output: Path, parent: Path) -> Path:
    """Return the work folder of an output.

    In a folder other than the output's, outputs of the same name may meet: a hash of the full path tells them apart.
    """
    if not is_url(output) and parent.samefile(output.parent):
        return parent / f"{output.name}.wsisr-part"
    path_hash = hashlib.sha256(os.fsencode(output.resolve())).hexdigest()[:8]
    return parent / f"{output.name}.{path_hash}.wsisr-part"


def _claim_folder(folder: Path, output: Path, own_folders: tuple[str, ...]) -> FolderLock:
    while True:
        if folder.is_symlink():
            raise OutputError(
                f"{folder}: is a link, which wsisr does not follow; remove it (--work-dir moves the work)"
            )
        if folder.exists() and not folder.is_dir():
            advice = "move it away, or choose another name for the output"
            raise OutputError(f"{folder}: is a file where the folder for work in progress is to be; {advice}")
        folder.mkdir(exist_ok=True)
        names = _list_names(folder)
        if not _is_work_folder(folder, names):
            if _list_names(folder) != names:
                continue  # its former owner was about to remove it
            advice = "move it away, or choose another name for the output"
            raise OutputError(f"{folder}: is no work folder of wsisr; {advice}")
        _refuse_links(folder, own_folders)
        try:
            lease = FolderLock(folder / _LOCK, output)
        except FileNotFoundError:
            continue  # its former owner removed the folder between mkdir and locking
        if not lease.is_stale:
            return lease
        lease.release()


def _is_work_folder(folder: Path, names: Set[str]) -> bool:
    """Return whether a folder with these names in it is empty or one of ours.

    Ours holds our lock, known by what it says. A run that was killed as it took the lock, or a power cut, may have left
    an empty one: then nothing else is there, or the record of a run.
    """
    if not names or is_lock_of_wsisr(folder / _LOCK):
        return True
    lock = folder / _LOCK
    is_empty_lock = lock.is_file() and not lock.is_symlink() and not lock.stat().st_size
    return is_empty_lock and (names == {_LOCK} or read_run_record(folder / _RUN) is not None)


def _refuse_links(folder: Path, own_folders: tuple[str, ...]) -> None:
    """Raise `OutputError` if a link stands in the place of a file of ours."""
    link = next((entry for entry in _list_own_entries(folder, own_folders) if entry.is_symlink()), None)
    if link:
        raise OutputError(f"{link}: is a link, which wsisr does not follow; remove it")


def _list_names(folder: Path) -> set[str]:
    """Return the names in a folder; of one that is gone, none."""
    try:
        return {path.name for path in folder.iterdir() if not path.name.startswith(_NFS_PREFIX)}
    except FileNotFoundError:
        return set()


def _list_own_entries(folder: Path, own_folders: tuple[str, ...]) -> Iterator[Path]:
    """Yield the entries of a folder that have names of ours, except the lock."""
    return (folder / name for name in _list_names(folder) if _OWN_FILES.fullmatch(name) or name in own_folders)
