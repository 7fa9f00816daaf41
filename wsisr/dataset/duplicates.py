"""Look-alikes between the splits: patches of training and of validation that may show the same, by fingerprint.

A dataset is split by case, so there should be none: what is found was scanned twice under two names, or is a slide
that was given in parts. What is flat, or mostly glass, looks alike everywhere and is not compared.
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
"""Of 64 bits, in how many look-alikes differ at the most. A patch and its JPEG of quality 30 differ in more once in a
hundred times; of seven million pairs of patches of different cases the closest differed in 11."""

MIN_SET_BITS = 16
"""Of a fingerprint that is compared at least so many are set, and so many are not: of white none is set."""

HEADER_EXAMPLES = 20
"""That a dataset's header names."""

_BITS_SET = np.array([number.bit_count() for number in range(256)], np.uint8)


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two patches, one of each split."""

    train: PatchRecord
    val: PatchRecord
    bits: int
    """In which their fingerprints differ."""


def find_near_duplicates(records: Iterable[PatchRecord]) -> list[NearDuplicate]:
    """All of them, the most alike first. Raises `DatasetError` for a fingerprint that is none."""
    patches = {(each.shard, each.images["hr"]): each for each in records if each.contrast >= FLAT_CONTRAST}
    telling = [each for each in patches.values() if MIN_SET_BITS <= _count_set_bits(each) <= 64 - MIN_SET_BITS]
    train, val = ([each for each in telling if each.split == split] for split in ("train", "val"))
    known, found = _fingerprint_bytes(train), []
    for own, fingerprint in zip(val, _fingerprint_bytes(val), strict=True):
        distances = _BITS_SET[known ^ fingerprint].sum(axis=1)
        found += [
            NearDuplicate(train[i], own, int(distances[i])) for i in np.flatnonzero(distances <= MAX_DIFFERING_BITS)
        ]
    return sorted(found, key=lambda each: each.bits)


def summarise_near_duplicates(found: Sequence[NearDuplicate]) -> dict[str, Any]:
    """What `dataset.json` says of them."""
    pairs = [
        {"train": _locate(each.train), "val": _locate(each.val), "bits": each.bits} for each in found[:HEADER_EXAMPLES]
    ]
    return {"pairs": len(found), "bits": MAX_DIFFERING_BITS, "examples": pairs}


def _locate(record: PatchRecord) -> dict[str, Any]:
    return {"slide": record.slide, "box": record.box}


def _count_set_bits(record: PatchRecord) -> int:
    try:
        number = int(record.fingerprint, 16) if len(record.fingerprint) == 16 else -1
    except ValueError:
        number = -1
    if number < 0:
        raise DatasetError(f"{record.slide}: a fingerprint in the manifest is not 64 bits in hex; build it again")
    return number.bit_count()


def _fingerprint_bytes(records: Sequence[PatchRecord]) -> npt.NDArray[np.uint8]:
    """(n, 8)"""
    numbers = np.array([int(record.fingerprint, 16) for record in records], np.uint64)
    return numbers.view(np.uint8).reshape(len(records), 8)
