"""A smaller dataset of a larger one, for machines that have little room and few packages: NumPy and Pillow read it.

Patches are taken in turns from every level of every slide of every split, from each level evenly spread, as long as
they fit. A patch brings its pairs at all scales; images that training does not read (`hr-raw`) stay behind.
"""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from wsisr.dataset.codecs import PATCH_CODECS
from wsisr.dataset.duplicates import find_near_duplicates, summarise_near_duplicates
from wsisr.dataset.reader import HEADER, MANIFEST, SHARDS, PatchStore
from wsisr.dataset.records import ByteSpan, PatchRecord
from wsisr.errors import DatasetError
from wsisr.files import check_output, publish_output, translate_disk_errors, write_atomically
from wsisr.imaging.pixels import Rgb
from wsisr.progress import Progress
from wsisr.version import __version__
from wsisr.writing.workdir.folder import PartFolder

MB = 1_000_000

RESERVED_HEADER_BYTES = 16_384
"""Kept free for the header, whose length is not known before the end."""

PatchPairs = tuple[PatchRecord, ...]
"""Rows of one patch, which share its high resolution."""


@dataclass(frozen=True, slots=True)
class DatasetPacking:
    """What is to be packed."""

    source: Path
    folder: Path
    limit_mb: float = 45.0
    """Of all files together, in millions of bytes."""
    codec: str = "jpeg"
    """One of `CODECS`."""
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.codec not in PATCH_CODECS:
            raise DatasetError(f"codec {self.codec!r} is not known; known: {', '.join(PATCH_CODECS)}")
        if not math.isfinite(self.limit_mb):
            raise DatasetError(f"a limit of {self.limit_mb} MB is none; give a number")

    def __iter__(self) -> Generator[Progress, None, None]:
        """Yields bytes. Raises `DatasetError` where not even one patch fits, `OutputError` where the disk refuses."""
        store = PatchStore(self.source)
        patches = order_in_turns(store.records)
        check_output(self.folder, overwrite=self.overwrite, marker=MANIFEST)
        if self.folder.resolve() == self.source.resolve():
            raise DatasetError(f"{self.folder}: is the dataset to be packed; give the pack another name")
        with translate_disk_errors(self.folder):
            scratch = PartFolder(self.folder)
        try:
            with translate_disk_errors(self.folder):
                scratch.resume_or_clear(None, restart=True)
                (scratch.folder / "dataset" / SHARDS).mkdir(parents=True)
            yield from self._fill(store, patches, scratch.folder / "dataset")
            publish_output(scratch.folder / "dataset", self.folder, overwrite=self.overwrite)
        finally:
            scratch.release(keep=False)

    def _fill(self, store: PatchStore, patches: Sequence[PatchPairs], work: Path) -> Iterator[Progress]:
        limit, used = round(self.limit_mb * MB), RESERVED_HEADER_BYTES
        number = {_pair_key(record): number for number, record in enumerate(store.records)}
        records: dict[int, PatchRecord] = {}
        shards = _PackShards(work, self.codec)
        for pairs in patches:
            packed = shards.encode_patch(store, pairs)
            if used + packed.bytes > limit:
                break
            with translate_disk_errors(self.folder):
                kept = shards.write_patch(packed)
            records |= {number[_pair_key(record)]: row for record, row in zip(pairs, kept, strict=True)}
            used += packed.bytes
            yield Progress("pack", used, limit)
        if not records:
            raise DatasetError(f"{self.folder}: not one patch fits into {self.limit_mb:g} MB; give a larger --limit-mb")
        rows = [records[number] for number in sorted(records)]
        write_atomically(work / HEADER, [json.dumps(self._header(store, rows), indent=2).encode() + b"\n"])
        write_atomically(work / MANIFEST, (f"{row.to_json()}\n".encode() for row in rows))

    def _header(self, store: PatchStore, records: Sequence[PatchRecord]) -> dict[str, Any]:
        pack = {"of": store.digest, "pairs": len(store.records), "limit_mb": self.limit_mb, "codec": self.codec}
        alike = summarise_near_duplicates(find_near_duplicates(records)) | {"examples": []}
        return {"wsisr": __version__, "packed": pack, "look_alikes": alike}


def order_in_turns(records: Sequence[PatchRecord]) -> list[PatchPairs]:
    """Patches, one of each split, slide and level at a time, so that any number of the first is spread over all."""
    patches: dict[tuple[str, ByteSpan], list[PatchRecord]] = {}
    for record in records:
        patches.setdefault((record.shard, record.images["hr"]), []).append(record)
    groups: dict[tuple[str, str, int], list[PatchPairs]] = {}
    for pairs in patches.values():
        groups.setdefault((pairs[0].split, pairs[0].slide, pairs[0].level), []).append(tuple(pairs))
    turns = zip_longest(*(_order_evenly(group) for group in groups.values()))
    return [pairs for turn in turns for pairs in turn if pairs is not None]


def _order_evenly(group: Sequence[PatchPairs]) -> list[PatchPairs]:
    """The same patches; any number of the first lie evenly spread (van der Corput's sequence)."""
    bits = max(1, (len(group) - 1).bit_length())
    places = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(1 << bits))
    return [group[place] for place in places if place < len(group)]


@dataclass(frozen=True, slots=True)
class _PackedPatch:
    """Rows of one patch whose spans are places in `content`, and what they take of the limit."""

    rows: PatchPairs
    content: bytes

    @property
    def bytes(self) -> int:
        """A span's numbers may grow by ten digits each once they are places in a shard."""
        return len(self.content) + sum(len(row.to_json()) + 1 + 20 * len(row.images) for row in self.rows)


class _PackShards:
    """The shards of a pack as they grow; none is held open, for there may be thousands."""

    def __init__(self, work: Path, codec: str) -> None:
        self.work, self.codec = work, codec
        self._ends: dict[str, int] = {}

    def encode_patch(self, store: PatchStore, pairs: PatchPairs) -> _PackedPatch:
        high = self._encode(store.read_high(pairs[0]))
        content, rows = [high], []
        for record in pairs:
            low = self._encode(store.read_low(record))
            images = {"hr": (0, len(high)), "lr": (sum(map(len, content)), len(low))}
            content.append(low)
            rows.append(replace(record, images=images, codec=self.codec))
        return _PackedPatch(tuple(rows), b"".join(content))

    def write_patch(self, packed: _PackedPatch) -> list[PatchRecord]:
        """Puts the pixels away; rows that say where. Raises `OSError` where the disk refuses."""
        shard = packed.rows[0].shard
        end = self._ends.get(shard, 0)
        with (self.work / SHARDS / shard).open("ab") as file:
            file.write(packed.content)
        self._ends[shard] = end + len(packed.content)
        return [replace(row, images=_offset_spans(row.images, end)) for row in packed.rows]

    def _encode(self, image: Rgb) -> bytes:
        return PATCH_CODECS[self.codec](image)


def _pair_key(record: PatchRecord) -> tuple[str, ByteSpan, ByteSpan]:
    """No two rows of a dataset show the same two images."""
    return record.shard, record.images["hr"], record.images["lr"]


def _offset_spans(images: Mapping[str, ByteSpan], by: int) -> dict[str, ByteSpan]:
    return {name: (by + start, size) for name, (start, size) in images.items()}
