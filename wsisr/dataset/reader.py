"""Reading a dataset from disk, with NumPy and Pillow alone.

    manifest.jsonl      one `PatchRecord` per line
    shards/NAME.bin     pixels of the patches of one slide, concatenated; the records give their positions
    slides.jsonl        one `SlideFacts` per line: relations of levels, rejected fields and reasons
    dataset.json        the recipe, slides that could not be used, near-duplicates across the splits
    report.html         the visual report

Shards are memory-mapped. A folder without a manifest is not a dataset; a pack has neither `slides.jsonl` nor a report.
"""

from __future__ import annotations

import hashlib
import mmap
from functools import cached_property
from pathlib import Path

from wsisr.dataset.codecs import decode_patch
from wsisr.dataset.records import PatchRecord, parse_manifest
from wsisr.errors import DatasetError, DatasetNotFoundError
from wsisr.imaging.pixels import Rgb

MANIFEST, SHARDS, SLIDES, HEADER, REPORT = "manifest.jsonl", "shards", "slides.jsonl", "dataset.json", "report.html"


class PatchStore:
    """A dataset opened for reading. Manifest and shards are read on first use."""

    def __init__(self, folder: Path) -> None:
        """Raises `DatasetError` if the folder holds no dataset."""
        self.folder = folder
        self._shards: dict[str, memoryview] = {}
        try:
            has_manifest = (folder / MANIFEST).is_file()
        except OSError as error:
            raise DatasetError(f"{folder}: cannot be looked into ({error.strerror}); give another folder") from error
        if not has_manifest:
            error_type = DatasetError if folder.exists() else DatasetNotFoundError
            raise error_type(f"{folder}: no dataset here ({MANIFEST} is missing); make one with wsisr build-dataset")

    @cached_property
    def records(self) -> tuple[PatchRecord, ...]:
        """All pairs, in the order of the manifest. Raises `DatasetError` if the manifest cannot be read."""
        path = self.folder / MANIFEST
        try:
            return parse_manifest(self._manifest_bytes)
        except ValueError as error:
            raise DatasetError(f"{path}: not a manifest of this version; build the dataset again ({error})") from error

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the manifest: identifies the dataset regardless of its folder."""
        return hashlib.sha256(self._manifest_bytes).hexdigest()

    def select_pairs(self, split: str, scale: int) -> tuple[PatchRecord, ...]:
        """Return the pairs of a split at a scale."""
        return tuple(record for record in self.records if record.split == split and record.scale == scale)

    def read_high(self, record: PatchRecord) -> Rgb:
        """Read the patch at high resolution, (p, p, 3)."""
        return self.read_image(record, "hr")

    def read_low(self, record: PatchRecord) -> Rgb:
        """Read its partner at low resolution, (p/scale, p/scale, 3)."""
        return self.read_image(record, "lr")

    def read_image(self, record: PatchRecord, name: str) -> Rgb:
        """Read one of the record's images; names that begin with `hr` are high resolution, all others low.

        Raises `DatasetError` naming the shard if it is missing, truncated or damaged.
        """
        start, size = record.images[name]
        side = record.side if name.startswith("hr") else record.side // record.scale
        shard = self._map_shard(record.shard)
        try:
            if start + size > len(shard):
                raise DatasetError(f"ends at byte {len(shard)}, before the end of the patch in the manifest")
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
        """Return a shard, memory-mapped so that only the requested pages are read."""
        if name not in self._shards:
            path = self.folder / SHARDS / name
            try:
                with path.open("rb") as file:
                    self._shards[name] = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            except (OSError, ValueError) as error:  # mmap raises ValueError for an empty file
                raise DatasetError(f"{path}: patches cannot be read ({error}); build the dataset again") from error
        return self._shards[name]
