"""How many pairs and patches there are. A patch is a field at high resolution, whatever number of pairs it has."""

from __future__ import annotations

from collections.abc import Sequence

from wsisr.dataset.records import SPLITS, PatchRecord


def patches(records: Sequence[PatchRecord]) -> int:
    """Fields at high resolution, each counted once."""
    return len({(record.shard, record.images["hr"]) for record in records})


def bytes_of(records: Sequence[PatchRecord]) -> int:
    """Of pixels as they are stored, those that pairs share once."""
    return sum(size for _, _, size in {(record.shard, *span) for record in records for span in record.images.values()})


def by_class(records: Sequence[PatchRecord]) -> dict[tuple[str, str, str], list[PatchRecord]]:
    """Kind, magnification of the high resolution and scale, in words, to the pairs that have them; in order."""
    rows: dict[tuple[str, str, str], list[PatchRecord]] = {}
    for record in sorted(records, key=lambda each: (each.kind, each.mpp_hr, each.scale)):
        name = f"{record.magnification}x" if record.magnification else "other"
        rows.setdefault((record.kind, name, f"x{record.scale}"), []).append(record)
    return rows


def counts(records: Sequence[PatchRecord]) -> list[int]:
    """Pairs, patches and slides of each split."""
    numbers = []
    for split in SPLITS:
        own = [record for record in records if record.split == split]
        numbers += [len(own), patches(own), len({record.slide for record in own})]
    return numbers
