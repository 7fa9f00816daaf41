"""Packing a smaller dataset from a larger one, for machines with little space; NumPy and Pillow are enough to read it.

Patches are taken in turns from every level of every slide of every split, evenly spaced within a level, as long as they
fit. A patch keeps its pairs at all scales; images that training does not read (`hr-raw`) are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from wsisr.dataset.codecs import PATCH_CODECS
from wsisr.dataset.duplicates import find_near_duplicates, summarise_near_duplicates
from wsisr.dataset.reader import HEADER, MANIFEST, SHARDS, PatchStore
from wsisr.dataset.records import ByteSpan, PatchRecord
from wsisr.errors import DatasetError
from wsisr.files import check_output, publish_output, translate_disk_errors, write_atomically
from wsisr.imaging.pixels import Rgb
from wsisr.progress import Progress
from wsisr.version import __version__
from wsisr.writing.workdir.folder import DATASET_FOLDER, PartFolder

MB = 1_000_000

RESERVED_HEADER_BYTES = 16_384
"""Space reserved for the header, whose length is known only at the end."""

PatchPairs = tuple[PatchRecord, ...]
"""The records of one patch, which share its high resolution."""


@dataclass(frozen=True, slots=True)
class DatasetPacking:
    """Packs a dataset; iterate over it to run and follow the progress."""

    source: Path
    folder: Path
    limit_mb: float = 45.0
    """Largest size of all files together, in millions of bytes."""
    codec: str = "jpeg"
    """One of `PATCH_CODECS`."""
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.codec not in PATCH_CODECS:
            raise DatasetError(f"codec {self.codec!r} is not known; known: {', '.join(PATCH_CODECS)}")
        if not math.isfinite(self.limit_mb):
            raise DatasetError(f"a limit of {self.limit_mb} MB is not possible; give a number")

    def __iter__(self) -> Generator[Progress, None, None]:
        """Yield the progress in bytes. Raises `DatasetError` if not one patch fits, `OutputError` if writing fails."""
        store = PatchStore(self.source)
        patches = order_in_turns(store.records)
        check_output(self.folder, overwrite=self.overwrite, marker=MANIFEST)
        if self.folder.resolve() == self.source.resolve():
            raise DatasetError(f"{self.folder}: is the dataset to be packed; give the pack another name")
        with translate_disk_errors(self.folder):
            part_folder = PartFolder(self.folder, content=DATASET_FOLDER)
        pack = part_folder.folder / DATASET_FOLDER
        try:
            with translate_disk_errors(self.folder):
                part_folder.resume_or_clear(None, restart=self.overwrite)
                (pack / SHARDS).mkdir(parents=True)
            yield from self._write_pack(store, patches, pack)
            publish_output(pack, self.folder, overwrite=self.overwrite)
        finally:
            part_folder.release(keep=part_folder.has_work)  # which a pack has none of, so it is another run's

    def _write_pack(self, store: PatchStore, patches: Sequence[PatchPairs], pack: Path) -> Iterator[Progress]:
        limit, used = round(self.limit_mb * MB), RESERVED_HEADER_BYTES
        order = {_pair_key(record): index for index, record in enumerate(store.records)}
        packed_records: dict[int, PatchRecord] = {}
        shards = _PackShards(pack, self.codec)
        for pairs in patches:
            packed = shards.encode_patch(store, pairs)
            if used + packed.bytes > limit:
                break
            with translate_disk_errors(self.folder):
                written = shards.write_patch(packed)
            packed_records |= {order[_pair_key(pair)]: record for pair, record in zip(pairs, written, strict=True)}
            used += packed.bytes
            yield Progress("pack", used, limit)
        if not packed_records:
            raise DatasetError(f"{self.folder}: not one patch fits into {self.limit_mb:g} MB; give a larger --limit-mb")
        records = [packed_records[index] for index in sorted(packed_records)]
        write_atomically(pack / HEADER, [json.dumps(self._make_header(store, records), indent=2).encode() + b"\n"])
        write_atomically(pack / MANIFEST, (f"{record.to_json()}\n".encode() for record in records))

    def _make_header(self, store: PatchStore, records: Sequence[PatchRecord]) -> dict[str, Any]:
        packed = {"of": store.digest, "pairs": len(store.records), "limit_mb": self.limit_mb, "codec": self.codec}
        # Without examples: a pack is small, and the dataset it comes from lists them.
        near_duplicates = summarise_near_duplicates(find_near_duplicates(records)) | {"examples": []}
        return {"wsisr": __version__, "packed": packed, "look_alikes": near_duplicates}


def order_in_turns(records: Sequence[PatchRecord]) -> list[PatchPairs]:
    """Group records by patch and order these: one of each split, slide and level in turn, so that any first part of
    the order covers all of them evenly."""
    patches: dict[tuple[str, ByteSpan], list[PatchRecord]] = {}
    for record in records:
        patches.setdefault((record.shard, record.images["hr"]), []).append(record)
    groups: dict[tuple[str, str, int], list[PatchPairs]] = {}
    for pairs in patches.values():
        groups.setdefault((pairs[0].split, pairs[0].slide, pairs[0].level), []).append(tuple(pairs))
    turns = zip_longest(*(_order_evenly(group) for group in groups.values()))
    return [pairs for turn in turns for pairs in turn if pairs is not None]


def _order_evenly(group: Sequence[PatchPairs]) -> list[PatchPairs]:
    """Order patches so that any first part of them is evenly spaced (van der Corput's sequence)."""
    bits = max(1, (len(group) - 1).bit_length())
    indices = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(1 << bits))
    return [group[index] for index in indices if index < len(group)]


@dataclass(frozen=True, slots=True)
class _PackedPatch:
    """The encoded images of one patch, and its records with spans relative to `content`."""

    records: PatchPairs
    content: bytes

    @property
    def bytes(self) -> int:
        """Upper bound of its bytes in the pack: both numbers of a span may grow by ten digits within a shard."""
        return len(self.content) + sum(len(record.to_json()) + 1 + 20 * len(record.images) for record in self.records)


class _PackShards:
    """The growing shards of a pack. None is held open, because there may be thousands."""

    def __init__(self, pack: Path, codec: str) -> None:
        self.pack, self.codec = pack, codec
        self._ends: dict[str, int] = {}

    def encode_patch(self, store: PatchStore, pairs: PatchPairs) -> _PackedPatch:
        high = self._encode(store.read_high(pairs[0]))
        content, records = [high], []
        for pair in pairs:
            low = self._encode(store.read_low(pair))
            images = {"hr": (0, len(high)), "lr": (sum(map(len, content)), len(low))}
            content.append(low)
            records.append(replace(pair, images=images, codec=self.codec))
        return _PackedPatch(tuple(records), b"".join(content))

    def write_patch(self, packed: _PackedPatch) -> list[PatchRecord]:
        """Append a patch to its shard; return its records with their spans there. Raises `OSError` if writing fails."""
        shard = packed.records[0].shard
        end = self._ends.get(shard, 0)
        with (self.pack / SHARDS / shard).open("ab") as file:
            file.write(packed.content)
        self._ends[shard] = end + len(packed.content)
        return [replace(record, images=_offset_spans(record.images, end)) for record in packed.records]

    def _encode(self, image: Rgb) -> bytes:
        return PATCH_CODECS[self.codec](image)


def _pair_key(record: PatchRecord) -> tuple[str, ByteSpan, ByteSpan]:
    """Return the key of a pair: no two records of a dataset have the same two images."""
    return record.shard, record.images["hr"], record.images["lr"]


def _offset_spans(images: Mapping[str, ByteSpan], offset: int) -> dict[str, ByteSpan]:
    return {name: (offset + start, size) for name, (start, size) in images.items()}
