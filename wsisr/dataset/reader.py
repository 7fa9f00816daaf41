"""A dataset on disk, opened for reading. NumPy and Pillow are all it takes.

    manifest.jsonl      one `PatchRecord` a line
    shards/NAME.bin     pixels of one slide's patches, one after the other; rows say where
    slides.jsonl        one `SlideFacts` a line: levels and how they relate, what was rejected and why
    dataset.json        the recipe, slides that could not be used, look-alikes between the splits
    report.html         all of it for the eye

Shards are mapped, not loaded. A folder without a manifest is no dataset; a pack has no `slides.jsonl` and no report.
"""

from __future__ import annotations

import hashlib
import mmap
from functools import cached_property
from pathlib import Path

from wsisr.dataset.codecs import decode_patch
from wsisr.dataset.records import PatchRecord
from wsisr.errors import DatasetError
from wsisr.imaging.pixels import Rgb

MANIFEST, SHARDS, SLIDES, HEADER, REPORT = "manifest.jsonl", "shards", "slides.jsonl", "dataset.json", "report.html"


class PatchStore:
    """A dataset opened for reading."""

    def __init__(self, folder: Path) -> None:
        """Raises `DatasetError` where there is none. Nothing else is read before it is asked for."""
        self.folder = folder
        self._shards: dict[str, memoryview] = {}
        try:
            found = (folder / MANIFEST).is_file()
        except OSError as error:
            raise DatasetError(f"{folder}: cannot be looked into ({error.strerror}); give another folder") from error
        if not found:
            raise DatasetError(f"{folder}: no dataset here ({MANIFEST} is missing); make one with wsisr build-dataset")

    @cached_property
    def records(self) -> tuple[PatchRecord, ...]:
        """All pairs, in the order of the manifest. Raises `DatasetError` if that cannot be read."""
        path = self.folder / MANIFEST
        try:
            return tuple(map(PatchRecord.from_json, self._manifest_bytes.decode().splitlines()))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DatasetError(f"{path}: not a manifest of this version; build the dataset again") from error

    @cached_property
    def digest(self) -> str:
        """Differs between datasets of other patches; the same wherever the folder lies."""
        return hashlib.sha256(self._manifest_bytes).hexdigest()

    def select_pairs(self, split: str, scale: int) -> tuple[PatchRecord, ...]:
        """Those of a split at a scale."""
        return tuple(record for record in self.records if record.split == split and record.scale == scale)

    def read_high(self, record: PatchRecord) -> Rgb:
        """(p, p, 3), the patch at high resolution."""
        return self.read_image(record, "hr")

    def read_low(self, record: PatchRecord) -> Rgb:
        """(p/scale, p/scale, 3), its partner."""
        return self.read_image(record, "lr")

    def read_image(self, record: PatchRecord, name: str) -> Rgb:
        """Any of the record's images: of the high resolution's side where its name begins with `hr`, else of the low's.

        Raises `DatasetError` naming the shard where that is missing, cut off or damaged.
        """
        start, size = record.images[name]
        side = record.side if name.startswith("hr") else record.side // record.scale
        shard = self._map_shard(record.shard)
        try:
            if start + size > len(shard):
                raise DatasetError(f"ends at byte {len(shard)}, the manifest tells of more")
            return decode_patch(shard[start : start + size], record.codec, side)
        except DatasetError as error:
            path = self.folder / SHARDS / record.shard
            raise DatasetError(f"{path}: patches cannot be read ({error}); build the dataset again") from error

    @cached_property
    def _manifest_bytes(self) -> bytes:
        path = self.folder / MANIFEST
        try:
            return path.read_bytes()
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read ({error.strerror}); build the dataset again") from error

    def _map_shard(self, name: str) -> memoryview:
        """Mapped: what is read of it is what is asked for."""
        if name not in self._shards:
            path = self.folder / SHARDS / name
            try:
                with path.open("rb") as file:
                    self._shards[name] = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            except (OSError, ValueError) as error:  # ValueError: an empty file
                raise DatasetError(f"{path}: patches cannot be read ({error}); build the dataset again") from error
        return self._shards[name]
