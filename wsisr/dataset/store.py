"""A dataset on disk: a manifest with one row a patch, and one plain array a group of patches.

Layout: `manifest.jsonl` (one `PatchRecord` a line), `hr/GROUP.npy` uint8 (n, p, p, 3), and for every scale that the
pyramid gives `lrSCALE/GROUP.npy` uint8 (n, p/scale, p/scale, 3). A group is one level of one slide. Arrays are mapped,
not loaded, and need nothing but NumPy to read. A folder without a manifest is no dataset.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from wsisr.errors import DatasetError
from wsisr.files import disk_errors, write_whole
from wsisr.pixels import Rgb, Tiles

MANIFEST = "manifest.jsonl"


@dataclass(frozen=True, slots=True)
class PatchRecord:
    """Where one high-resolution patch comes from."""

    group: str
    index: int
    """Row of the group's arrays."""
    slide: str
    """File name, without its folder, made unique within the dataset."""
    case: str
    """Patient or specimen: all patches of a case are in one split."""
    split: str
    """`train` or `val`."""
    level: int
    left: int
    top: int
    """Corner in px of that level."""
    mpp: float
    """Pixel pitch of the high-resolution patch, in um/px."""
    contrast: float
    """Standard deviation of grey, in grey levels: low on glass."""
    scales: tuple[int, ...]
    """Scales at which the slide's own pyramid gives the low-resolution partner."""


class PatchStore:
    """A dataset opened for reading."""

    def __init__(self, folder: Path) -> None:
        """Raises `DatasetError` where there is none. Nothing else is read before it is asked for."""
        self.folder = folder
        self._arrays: dict[Path, Tiles] = {}
        try:
            found = (folder / MANIFEST).is_file()
        except OSError as error:
            raise DatasetError(f"{folder}: cannot be looked into ({error.strerror}); give another folder") from error
        if not found:
            raise DatasetError(f"{folder}: no dataset here ({MANIFEST} is missing); make one with wsisr build-dataset")

    @cached_property
    def records(self) -> tuple[PatchRecord, ...]:
        """All patches, in the order of the manifest. Raises `DatasetError` if that cannot be read."""
        path = self.folder / MANIFEST
        try:
            return tuple(_record(json.loads(line)) for line in self._manifest.decode().splitlines())
        except (ValueError, TypeError, KeyError) as error:
            raise DatasetError(f"{path}: not a manifest of this version; build the dataset again") from error

    @cached_property
    def digest(self) -> str:
        """Differs between datasets of other patches; the same wherever the folder lies."""
        return hashlib.sha256(self._manifest).hexdigest()

    def split(self, name: str) -> tuple[PatchRecord, ...]:
        return tuple(record for record in self.records if record.split == name)

    def high(self, record: PatchRecord) -> Rgb:
        """(p, p, 3), the patch itself."""
        return self._row("hr", record)

    def low(self, record: PatchRecord, scale: int) -> Rgb:
        """(p/scale, p/scale, 3), the same field as the slide's pyramid shows it."""
        return self._row(f"lr{scale}", record)

    @cached_property
    def _manifest(self) -> bytes:
        path = self.folder / MANIFEST
        try:
            return path.read_bytes()
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read ({error.strerror}); build the dataset again") from error

    def _row(self, kind: str, record: PatchRecord) -> Rgb:
        path = self.folder / kind / f"{record.group}.npy"
        if path not in self._arrays:
            self._arrays[path] = _mapped(path)
        patches = self._arrays[path]
        if not 0 <= record.index < len(patches):
            raise DatasetError(
                f"{path}: has {len(patches)} patches, the manifest tells of more; build the dataset again"
            )
        return np.asarray(patches[record.index])


@contextmanager
def new_dataset(folder: Path) -> Iterator[Path]:
    """A folder to fill, which gets the dataset's name at the end; where something goes wrong, nothing stays.

    Raises `DatasetError` where something has that name or another build is on it, `OutputError` where the disk refuses.
    """
    refuse_existing(folder)
    staging = folder.with_name(f"{folder.name}.partial")
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            staging.mkdir()
        except FileExistsError as error:
            raise DatasetError(f"{staging}: another build is writing it or was killed; if so, remove it") from error
    try:
        yield staging
        with disk_errors(folder):
            staging.rename(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def refuse_existing(folder: Path) -> None:
    """Raises `DatasetError` where a new dataset could not get its name; costs nothing, so ask before any work."""
    if not folder.name:
        raise DatasetError(f"{folder}: has no name of its own; give the name of a new folder")
    with disk_errors(folder):
        empty = folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())
        taken = os.path.lexists(folder) and not empty
    if taken:
        raise DatasetError(f"{folder}: exists already; give the name of a new folder, or remove it")


def write_group(folder: Path, kind: str, group: str, patches: Iterable[Rgb], shape: tuple[int, int]) -> None:
    """Stores patches under `kind/group.npy`, whole or not at all; `shape` is their number and the side of each, in px.

    Patches are written as they come: memory is that of one. Raises `OutputError` where the disk refuses.
    """
    path = folder / kind / f"{group}.npy"
    with disk_errors(path):
        path.parent.mkdir(exist_ok=True)
    write_whole(path, _npy(patches, shape))


def write_manifest(folder: Path, records: Sequence[PatchRecord]) -> None:
    """Makes the folder a dataset: written last."""
    write_whole(folder / MANIFEST, (json.dumps(asdict(record)).encode() + b"\n" for record in records))


def _npy(patches: Iterable[Rgb], shape: tuple[int, int]) -> Iterator[bytes]:
    """The bytes that `np.save` gives for all patches in one array."""
    count, side = shape
    header = io.BytesIO()
    facts = {"descr": "|u1", "fortran_order": False, "shape": (count, side, side, 3)}
    np.lib.format.write_array_header_1_0(header, facts)
    yield header.getvalue()
    yield from (patch.tobytes() for patch in patches)


def _record(row: dict[str, Any]) -> PatchRecord:
    return PatchRecord(**{**row, "scales": tuple(row["scales"])})


def _mapped(path: Path) -> Tiles:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f"{path}: patches cannot be read ({error}); build the dataset again") from error
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1] != array.shape[2] or array.shape[3] != 3:
        raise DatasetError(f"{path}: holds no patches but {array.dtype} {array.shape}; build the dataset again")
    return np.asanyarray(array)
