"""Which patches of a level are worth keeping: in focus, spread over its textures and over the slide, a few of glass.

Of all fields of a level at most a few thousand are looked at, evenly spaced among those that the tissue map calls
tissue. What has contrast and focus is sorted into 27 textures: thirds of the range of contrast, of focus and of colour
that this level has. Each texture gives as nearly the same number as it can, evenly spaced over the slide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np

from wsisr.dataset.patch_quality import measure_contrast, measure_focus
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb

T = TypeVar("T")

FLAT_CONTRAST = 6.0
"""Contrast below which a patch counts as glass or faint."""

MAX_FLAT_SHARE = 0.08
"""Glass and faint patches over the others, in a level, at the most: enough to learn to leave white alone."""

MIN_FOCUS = 0.1
"""Below it nothing is in focus: 19 of 20 patches keep more even after a blur of 3 px."""

MIN_FOCUS_OF_MEDIAN = 0.5
"""A patch is out of focus, too, if it has less than this share of its level's median."""

FIELDS_READ_PER_PATCH = 4
"""Fields that are read for each patch that is wanted at the most."""


class RejectReason(StrEnum):
    """Why a field is no patch."""

    UNSEEN = "not looked at: enough others"
    GLASS = "glass beyond its share"
    FAINT = "faint beyond its share"
    BLURRED = "out of focus"
    CROWDED = "more of its texture than wanted"


@dataclass(frozen=True, slots=True)
class PatchCandidate:
    """What was seen of one field."""

    box: Box
    tissue: float
    contrast: float
    focus: float
    colour: float
    """Mean difference between the strongest and the weakest colour, in grey levels."""

    @property
    def is_flat(self) -> bool:
        return self.contrast < FLAT_CONTRAST


@dataclass(frozen=True, slots=True)
class PatchSelection:
    """What is kept, in the order of the fields, and why the rest is not."""

    selected: tuple[PatchCandidate, ...]
    rejected: tuple[tuple[PatchCandidate, RejectReason], ...]


def measure_patch(patch: Rgb, box: Box, tissue: float) -> PatchCandidate:
    """Measures a patch; nothing of it is kept."""
    colour = float(np.mean(patch.max(axis=2) - patch.min(axis=2)))
    return PatchCandidate(box, tissue, measure_contrast(patch), measure_focus(patch), colour)


def select_fields_to_read(fields: Sequence[tuple[Box, float]], most: int) -> list[tuple[Box, float]]:
    """Fields, each with its share of tissue, to those that are worth reading; in order."""
    tissue = [index for index, (_, share) in enumerate(fields) if share > 0]
    glass = [index for index, (_, share) in enumerate(fields) if share <= 0]
    few = max(2, round(2 * MAX_FLAT_SHARE * min(most, len(tissue))))
    return [
        fields[index]
        for index in sorted(sample_evenly(tissue, FIELDS_READ_PER_PATCH * most) + sample_evenly(glass, few))
    ]


def select_patches(looks: Sequence[PatchCandidate], most: int) -> PatchSelection:
    """At most so many with contrast, and some without; what is left out is told with its reason."""
    sharp = {id(each) for each in filter_in_focus([each for each in looks if not each.is_flat])}
    good = [each for each in looks if id(each) in sharp]
    full = balance_textures(good, most)
    flat = [each for each in looks if each.is_flat]
    few = max(2, round(MAX_FLAT_SHARE * len(full))) if full else 0
    kept = {id(each) for each in [*full, *sample_evenly(flat, few)]}
    rejected = [(each, _reject_reason(each, id(each) in sharp)) for each in looks if id(each) not in kept]
    return PatchSelection(tuple(each for each in looks if id(each) in kept), tuple(rejected))


def filter_in_focus(looks: Sequence[PatchCandidate]) -> list[PatchCandidate]:
    """Those that have about as much fine detail as others of their level."""
    if not looks:
        return []
    least = max(MIN_FOCUS, MIN_FOCUS_OF_MEDIAN * float(np.median([each.focus for each in looks])))
    return [each for each in looks if each.focus >= least]


def balance_textures(looks: Sequence[PatchCandidate], most: int) -> list[PatchCandidate]:
    """At most so many, of each texture as nearly the same number as it has."""
    if len(looks) <= most:
        return list(looks)
    textures: dict[int, list[PatchCandidate]] = {}
    for each, texture in zip(looks, _classify_textures(looks), strict=True):
        textures.setdefault(texture, []).append(each)
    kept: list[PatchCandidate] = []
    smallest_first = sorted(textures, key=lambda texture: (len(textures[texture]), texture))
    for done, texture in enumerate(smallest_first):
        kept += sample_evenly(textures[texture], (most - len(kept)) // (len(textures) - done))
    return kept


def sample_evenly(items: Sequence[T], limit: int) -> list[T]:
    """At most so many of the items, evenly spaced."""
    return list(items) if len(items) <= limit else [items[i * len(items) // limit] for i in range(limit)]


def _classify_textures(looks: Sequence[PatchCandidate]) -> list[int]:
    """A number from 0 to 26 for each, so that a texture of few patches is one of its own."""
    measures = np.array([[each.contrast, each.focus, each.colour] for each in looks])
    low, high = np.percentile(measures, (2, 98), axis=0)
    thirds = np.clip(np.floor(3 * (measures - low) / np.maximum(high - low, 1e-9)), 0, 2).astype(int)
    return [int(number) for number in thirds @ (9, 3, 1)]


def _reject_reason(each: PatchCandidate, sharp: bool) -> RejectReason:
    if each.is_flat:
        return RejectReason.GLASS if each.tissue < 0.5 else RejectReason.FAINT
    return RejectReason.CROWDED if sharp else RejectReason.BLURRED
