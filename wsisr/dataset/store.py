"""A dataset on disk: a manifest with one row a patch, and one plain array a group of patches.

Layout: `manifest.jsonl` (one `PatchRecord` a line), `hr/GROUP.npy` uint8 (n, p, p, 3), and for every scale that the
pyramid gives `lrSCALE/GROUP.npy` uint8 (n, p/scale, p/scale, 3). A group is one level of one slide. Arrays are mapped,
not loaded, and need nothing but NumPy to read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from wsisr.errors import DatasetError
from wsisr.pixels import Rgb, Tiles

MANIFEST = "manifest.jsonl"


@dataclass(frozen=True, slots=True)
class PatchRecord:
    """Where one high-resolution patch comes from."""

    group: str
    index: int
    """Row of the group's arrays."""
    slide: str
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
        self.folder = folder
        self._arrays: dict[Path, Tiles] = {}
        if not (folder / MANIFEST).is_file():
            raise DatasetError(f"{folder}: no dataset here ({MANIFEST} is missing); make one with wsisr build-dataset")

    @cached_property
    def records(self) -> tuple[PatchRecord, ...]:
        lines = (self.folder / MANIFEST).read_text(encoding="utf-8").splitlines()
        try:
            rows = [json.loads(line) for line in lines]
            return tuple(PatchRecord(**{**row, "scales": tuple(row["scales"])}) for row in rows)
        except (ValueError, TypeError, KeyError) as error:
            raise DatasetError(f"{self.folder / MANIFEST}: not a manifest of this version; build it again") from error

    def split(self, name: str) -> tuple[PatchRecord, ...]:
        return tuple(record for record in self.records if record.split == name)

    def high(self, record: PatchRecord) -> Rgb:
        """(p, p, 3), the patch itself."""
        return self._row("hr", record)

    def low(self, record: PatchRecord, scale: int) -> Rgb:
        """(p/scale, p/scale, 3), the same field as the slide's pyramid shows it."""
        return self._row(f"lr{scale}", record)

    def _row(self, kind: str, record: PatchRecord) -> Rgb:
        path = self.folder / kind / f"{record.group}.npy"
        if path not in self._arrays:
            try:
                self._arrays[path] = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise DatasetError(f"{path}: patches cannot be read ({error}); build the dataset again") from error
        return np.asarray(self._arrays[path][record.index])


def write_group(folder: Path, kind: str, group: str, patches: Sequence[Rgb]) -> None:
    """Stores (n, p, p, 3) under `kind/group.npy`, whole or not at all."""
    path = folder / kind / f"{group}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, np.stack(patches), allow_pickle=False)
    partial.replace(path)


def write_manifest(folder: Path, records: Sequence[PatchRecord]) -> None:
    """Makes the dataset visible: written last, under its name only when whole."""
    partial = folder / f"{MANIFEST}.partial"
    partial.write_text("".join(json.dumps(asdict(record)) + "\n" for record in records), encoding="utf-8")
    partial.replace(folder / MANIFEST)
