"""Counts of pairs and patches. A patch is a field at high resolution, regardless of its number of pairs."""

from __future__ import annotations

from collections.abc import Sequence

from wsisr.dataset.records import SPLITS, PatchRecord


def count_patches(records: Sequence[PatchRecord]) -> int:
    """Count fields at high resolution, each once."""
    return len({(record.shard, record.images["hr"]) for record in records})


def count_pixel_bytes(records: Sequence[PatchRecord]) -> int:
    """Return the bytes of all stored images; an image that pairs share counts once."""
    return sum(size for _, _, size in {(record.shard, *span) for record in records for span in record.images.values()})


def group_pairs(records: Sequence[PatchRecord]) -> dict[tuple[str, str, str], list[PatchRecord]]:
    """Group pairs by kind, magnification of the high resolution and scale, as text; sorted by these."""
    groups: dict[tuple[str, str, str], list[PatchRecord]] = {}
    for record in sorted(records, key=lambda each: (each.kind, each.mpp_hr, each.scale)):
        magnification = f"{record.magnification}x" if record.magnification else "other"
        groups.setdefault((record.kind, magnification, f"x{record.scale}"), []).append(record)
    return groups


def count_by_split(records: Sequence[PatchRecord]) -> list[int]:
    """Return the number of pairs, patches and slides of each split, split by split."""
    counts = []
    for split in SPLITS:
        of_split = [record for record in records if record.split == split]
        counts += [len(of_split), count_patches(of_split), len({record.slide for record in of_split})]
    return counts
