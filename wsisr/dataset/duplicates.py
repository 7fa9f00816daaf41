"""Near-duplicates across the splits: training and validation patches that may show the same tissue, by fingerprint.

A dataset is split by case, so there should be none. Near-duplicates come from a specimen that was scanned twice under
two names, or from a slide that was given in parts. Flat patches and glass resemble each other everywhere, so they are
not compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wsisr.dataset.patch_selection import FLAT_CONTRAST
from wsisr.dataset.records import PatchRecord
from wsisr.errors import DatasetError

MAX_DIFFERING_BITS = 8
"""Most differing bits, of 64, of near-duplicates. A patch and its JPEG of quality 30 differ in more in one of a hundred
cases; of seven million pairs of patches of different cases the closest differed in 11."""

MIN_SET_BITS = 16
"""A fingerprint is compared only if at least this many bits are set and unset; on white, none is set."""

HEADER_EXAMPLES = 20
"""Near-duplicates listed in the header of a dataset."""

_BITS_SET = np.array([number.bit_count() for number in range(256)], np.uint8)


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two similar patches, one of each split."""

    train: PatchRecord
    val: PatchRecord
    bits: int
    """Number of bits in which their fingerprints differ."""


def find_near_duplicates(records: Iterable[PatchRecord]) -> list[NearDuplicate]:
    """Return all near-duplicates, the most similar first. Raises `DatasetError` for an invalid fingerprint."""
    patches = {(record.shard, record.images["hr"]): record for record in records if record.contrast >= FLAT_CONTRAST}
    distinctive = [each for each in patches.values() if MIN_SET_BITS <= _count_set_bits(each) <= 64 - MIN_SET_BITS]
    train, val = ([record for record in distinctive if record.split == split] for split in ("train", "val"))
    train_fingerprints, duplicates = _fingerprint_bytes(train), []
    for record, fingerprint in zip(val, _fingerprint_bytes(val), strict=True):
        bits = _BITS_SET[train_fingerprints ^ fingerprint].sum(axis=1)
        close = np.flatnonzero(bits <= MAX_DIFFERING_BITS)
        duplicates += [NearDuplicate(train[index], record, int(bits[index])) for index in close]
    return sorted(duplicates, key=lambda duplicate: duplicate.bits)


def summarise_near_duplicates(duplicates: Sequence[NearDuplicate]) -> dict[str, Any]:
    """Return the entry for the header of a dataset: their number, and the closest of them."""
    examples = [
        {"train": _locate(duplicate.train), "val": _locate(duplicate.val), "bits": duplicate.bits}
        for duplicate in duplicates[:HEADER_EXAMPLES]
    ]
    return {"pairs": len(duplicates), "bits": MAX_DIFFERING_BITS, "examples": examples}


def _locate(record: PatchRecord) -> dict[str, Any]:
    return {"slide": record.slide, "box": record.box}


def _count_set_bits(record: PatchRecord) -> int:
    try:
        number = int(record.fingerprint, 16) if len(record.fingerprint) == 16 else -1
    except ValueError:
        number = -1
    if number < 0:
        raise DatasetError(f"{record.slide}: a fingerprint is not 64 bits in hex; build the dataset again")
    return number.bit_count()


def _fingerprint_bytes(records: Sequence[PatchRecord]) -> npt.NDArray[np.uint8]:
    """Return fingerprints as (n, 8) bytes."""
    numbers = np.array([int(record.fingerprint, 16) for record in records], np.uint64)
    return numbers.view(np.uint8).reshape(len(records), 8)
