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

from wsisr.dataset.codecs import CODECS
from wsisr.dataset.duplicates import in_header, look_alikes
from wsisr.dataset.reader import HEADER, MANIFEST, SHARDS, PatchStore
from wsisr.dataset.records import PatchRecord, Span
from wsisr.errors import DatasetError
from wsisr.files import check_output, disk_errors, publish, write_whole
from wsisr.imaging.pixels import Rgb
from wsisr.progress import Progress
from wsisr.version import __version__
from wsisr.writing.workdir.folder import Scratch

MB = 1_000_000

HEADER_BYTES = 16_384
"""Kept free for the header, whose length is not known before the end."""

Pairs = tuple[PatchRecord, ...]
"""Rows of one patch, which share its high resolution."""


@dataclass(frozen=True, slots=True)
class Packing:
    """What is to be packed."""

    source: Path
    folder: Path
    limit_mb: float = 45.0
    """Of all files together, in millions of bytes."""
    codec: str = "jpeg"
    """One of `CODECS`."""
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise DatasetError(f"codec {self.codec!r} is not known; known: {', '.join(CODECS)}")
        if not math.isfinite(self.limit_mb):
            raise DatasetError(f"a limit of {self.limit_mb} MB is none; give a number")

    def __iter__(self) -> Generator[Progress, None, None]:
        """Yields bytes. Raises `DatasetError` where not even one patch fits, `OutputError` where the disk refuses."""
        store = PatchStore(self.source)
        patches = in_turns(store.records)
        check_output(self.folder, overwrite=self.overwrite, marker=MANIFEST)
        if self.folder.resolve() == self.source.resolve():
            raise DatasetError(f"{self.folder}: is the dataset to be packed; give the pack another name")
        with disk_errors(self.folder):
            scratch = Scratch(self.folder)
        try:
            with disk_errors(self.folder):
                scratch.take_up(None, restart=True)
                (scratch.folder / "dataset" / SHARDS).mkdir(parents=True)
            yield from self._fill(store, patches, scratch.folder / "dataset")
            publish(scratch.folder / "dataset", self.folder, overwrite=self.overwrite)
        finally:
            scratch.leave(keep=False)

    def _fill(self, store: PatchStore, patches: Sequence[Pairs], work: Path) -> Iterator[Progress]:
        limit, used = round(self.limit_mb * MB), HEADER_BYTES
        number = {_identity(record): number for number, record in enumerate(store.records)}
        records: dict[int, PatchRecord] = {}
        shards = _Shards(work, self.codec)
        for pairs in patches:
            packed = shards.encoded(store, pairs)
            if used + packed.bytes > limit:
                break
            with disk_errors(self.folder):
                kept = shards.keep(packed)
            records |= {number[_identity(record)]: row for record, row in zip(pairs, kept, strict=True)}
            used += packed.bytes
            yield Progress("pack", used, limit)
        if not records:
            raise DatasetError(f"{self.folder}: not one patch fits into {self.limit_mb:g} MB; give a larger --limit-mb")
        rows = [records[number] for number in sorted(records)]
        write_whole(work / HEADER, [json.dumps(self._header(store, rows), indent=2).encode() + b"\n"])
        write_whole(work / MANIFEST, (f"{row.to_json()}\n".encode() for row in rows))

    def _header(self, store: PatchStore, records: Sequence[PatchRecord]) -> dict[str, Any]:
        pack = {"of": store.digest, "pairs": len(store.records), "limit_mb": self.limit_mb, "codec": self.codec}
        alike = in_header(look_alikes(records)) | {"examples": []}
        return {"wsisr": __version__, "packed": pack, "look_alikes": alike}


def in_turns(records: Sequence[PatchRecord]) -> list[Pairs]:
    """Patches, one of each split, slide and level at a time, so that any number of the first is spread over all."""
    patches: dict[tuple[str, Span], list[PatchRecord]] = {}
    for record in records:
        patches.setdefault((record.shard, record.images["hr"]), []).append(record)
    groups: dict[tuple[str, str, int], list[Pairs]] = {}
    for pairs in patches.values():
        groups.setdefault((pairs[0].split, pairs[0].slide, pairs[0].level), []).append(tuple(pairs))
    turns = zip_longest(*(_spread_first(group) for group in groups.values()))
    return [pairs for turn in turns for pairs in turn if pairs is not None]


def _spread_first(group: Sequence[Pairs]) -> list[Pairs]:
    """The same patches; any number of the first lie evenly spread (van der Corput's sequence)."""
    bits = max(1, (len(group) - 1).bit_length())
    places = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(1 << bits))
    return [group[place] for place in places if place < len(group)]


@dataclass(frozen=True, slots=True)
class _Packed:
    """Rows of one patch whose spans are places in `content`, and what they take of the limit."""

    rows: Pairs
    content: bytes

    @property
    def bytes(self) -> int:
        """A span's numbers may grow by ten digits each once they are places in a shard."""
        return len(self.content) + sum(len(row.to_json()) + 1 + 20 * len(row.images) for row in self.rows)


class _Shards:
    """The shards of a pack as they grow; none is held open, for there may be thousands."""

    def __init__(self, work: Path, codec: str) -> None:
        self.work, self.codec = work, codec
        self._ends: dict[str, int] = {}

    def encoded(self, store: PatchStore, pairs: Pairs) -> _Packed:
        high = self._encode(store.high(pairs[0]))
        content, rows = [high], []
        for record in pairs:
            low = self._encode(store.low(record))
            images = {"hr": (0, len(high)), "lr": (sum(map(len, content)), len(low))}
            content.append(low)
            rows.append(replace(record, images=images, codec=self.codec))
        return _Packed(tuple(rows), b"".join(content))

    def keep(self, packed: _Packed) -> list[PatchRecord]:
        """Puts the pixels away; rows that say where. Raises `OSError` where the disk refuses."""
        shard = packed.rows[0].shard
        end = self._ends.get(shard, 0)
        with (self.work / SHARDS / shard).open("ab") as file:
            file.write(packed.content)
        self._ends[shard] = end + len(packed.content)
        return [replace(row, images=_moved(row.images, end)) for row in packed.rows]

    def _encode(self, image: Rgb) -> bytes:
        return CODECS[self.codec](image)


def _identity(record: PatchRecord) -> tuple[str, Span, Span]:
    """No two rows of a dataset show the same two images."""
    return record.shard, record.images["hr"], record.images["lr"]


def _moved(images: Mapping[str, Span], by: int) -> dict[str, Span]:
    return {name: (by + start, size) for name, (start, size) in images.items()}
