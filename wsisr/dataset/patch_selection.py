"""Selection of the patches of a level: in focus, balanced over textures, spread over the slide, and a few of glass.

At most a few thousand fields of a level are read, evenly spaced among those that the tissue map calls tissue. Fields
with contrast and focus are sorted into 27 textures: thirds of the level's range of contrast, of focus and of colour.
Each texture gives about the same number of patches, as far as it has them, evenly spaced over the slide.
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
"""Most flat patches of a level, as a share of the others: enough for a network to learn to leave white unchanged."""

MIN_FOCUS = 0.1
"""Focus below which a patch is out of focus: 19 of 20 patches keep more even after a blur of 3 px."""

MIN_FOCUS_OF_MEDIAN = 0.5
"""A patch is also out of focus if it has less than this share of the median focus of its level."""

FIELDS_READ_PER_PATCH = 4
"""Fields with tissue that are read per patch of the limit."""


class RejectReason(StrEnum):
    """Why a field did not become a patch. The values are stored in datasets."""

    UNSEEN = "not looked at: enough others"
    GLASS = "glass beyond its share"
    FAINT = "faint beyond its share"
    BLURRED = "out of focus"
    CROWDED = "more of its texture than wanted"


@dataclass(frozen=True, slots=True)
class PatchCandidate:
    """The measures of one field."""

    box: Box
    tissue: float
    contrast: float
    focus: float
    colour: float
    """Mean difference between the brightest and the darkest channel of a pixel, in grey levels."""

    @property
    def is_flat(self) -> bool:
        return self.contrast < FLAT_CONTRAST


@dataclass(frozen=True, slots=True)
class PatchSelection:
    """The selected fields, in the order of the fields, and the rejected ones with reasons."""

    selected: tuple[PatchCandidate, ...]
    rejected: tuple[tuple[PatchCandidate, RejectReason], ...]


def measure_patch(patch: Rgb, box: Box, tissue: float) -> PatchCandidate:
    """Measure a patch; its pixels are not kept."""
    colour = float(np.mean(patch.max(axis=2) - patch.min(axis=2)))
    return PatchCandidate(box, tissue, measure_contrast(patch), measure_focus(patch), colour)


def select_fields_to_read(fields: Sequence[tuple[Box, float]], limit: int) -> list[tuple[Box, float]]:
    """Select the fields to read for at most `limit` patches, in order; each comes with its share of tissue."""
    tissue = [index for index, (_, share) in enumerate(fields) if share > 0]
    glass = [index for index, (_, share) in enumerate(fields) if share <= 0]
    glass_limit = max(2, round(2 * MAX_FLAT_SHARE * min(limit, len(tissue))))
    indices = sample_evenly(tissue, FIELDS_READ_PER_PATCH * limit) + sample_evenly(glass, glass_limit)
    return [fields[index] for index in sorted(indices)]


def select_patches(candidates: Sequence[PatchCandidate], limit: int) -> PatchSelection:
    """Select at most `limit` candidates with contrast, and a few flat ones; the others get a reason."""
    sharp = filter_in_focus([candidate for candidate in candidates if not candidate.is_flat])
    textured = balance_textures(sharp, limit)
    flat = [candidate for candidate in candidates if candidate.is_flat]
    flat_limit = max(2, round(MAX_FLAT_SHARE * len(textured))) if textured else 0
    # Two candidates may have equal measures, so they are told apart by identity.
    sharp_ids = {id(candidate) for candidate in sharp}
    selected_ids = {id(candidate) for candidate in [*textured, *sample_evenly(flat, flat_limit)]}
    selected = tuple(candidate for candidate in candidates if id(candidate) in selected_ids)
    rejected = tuple(
        (candidate, _reject_reason(candidate, id(candidate) in sharp_ids))
        for candidate in candidates
        if id(candidate) not in selected_ids
    )
    return PatchSelection(selected, rejected)


def filter_in_focus(candidates: Sequence[PatchCandidate]) -> list[PatchCandidate]:
    """Return the candidates with about as much fine detail as the others of their level."""
    if not candidates:
        return []
    median = float(np.median([candidate.focus for candidate in candidates]))
    min_focus = max(MIN_FOCUS, MIN_FOCUS_OF_MEDIAN * median)
    return [candidate for candidate in candidates if candidate.focus >= min_focus]


def balance_textures(candidates: Sequence[PatchCandidate], limit: int) -> list[PatchCandidate]:
    """Return at most `limit` candidates, about the same number of each texture as far as it has them."""
    if len(candidates) <= limit:
        return list(candidates)
    textures: dict[int, list[PatchCandidate]] = {}
    for candidate, texture in zip(candidates, _classify_textures(candidates), strict=True):
        textures.setdefault(texture, []).append(candidate)
    selected: list[PatchCandidate] = []
    # Small textures first: what they lack of their share goes to the larger ones.
    smallest_first = sorted(textures, key=lambda texture: (len(textures[texture]), texture))
    for index, texture in enumerate(smallest_first):
        selected += sample_evenly(textures[texture], (limit - len(selected)) // (len(textures) - index))
    return selected


def sample_evenly(items: Sequence[T], limit: int) -> list[T]:
    """Return at most `limit` of the items, evenly spaced."""
    return list(items) if len(items) <= limit else [items[i * len(items) // limit] for i in range(limit)]


def _classify_textures(candidates: Sequence[PatchCandidate]) -> list[int]:
    """Return the texture of each candidate, 0 to 26: its thirds of contrast, focus and colour.

    The ranges end at percentiles 2 and 98, so that single extremes do not crowd all others into one third.
    """
    measures = np.array([[candidate.contrast, candidate.focus, candidate.colour] for candidate in candidates])
    low, high = np.percentile(measures, (2, 98), axis=0)
    thirds = np.clip(np.floor(3 * (measures - low) / np.maximum(high - low, 1e-9)), 0, 2).astype(int)
    return [int(texture) for texture in thirds @ (9, 3, 1)]


def _reject_reason(candidate: PatchCandidate, is_sharp: bool) -> RejectReason:
    if candidate.is_flat:
        return RejectReason.GLASS if candidate.tissue < 0.5 else RejectReason.FAINT
    return RejectReason.CROWDED if is_sharp else RejectReason.BLURRED
