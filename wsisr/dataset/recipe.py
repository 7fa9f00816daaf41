"""How patches are chosen and split. Pitches are in um/px; contrast is the standard deviation of grey, 0 to 255."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsisr.errors import DatasetError
from wsisr.modelspec import SCALES

FLAT_CONTRAST = 6.0
"""Contrast below which a patch counts as glass or faint."""

FLAT_SHARE = 0.08
"""Flat patches over patches with contrast, in a group, at the most: enough to learn to leave white alone."""

SMALLEST_PATCH_PX = 64


@dataclass(frozen=True, slots=True)
class Recipe:
    """How patches are chosen and split."""

    patch_px: int = 256
    """Side of a high-resolution patch; a multiple of 4."""
    coarsest_mpp: float = 2.1
    """Levels coarser than this, in um/px, give no high-resolution patches."""
    most_patches: int = 1000
    """Patches with contrast that one level of one slide gives at the most."""
    case_pattern: str = r"^[^_.]+"
    """What of a file name, without its folder, names the case; where nothing fits it, the name without its suffix."""
    val_share: float = 0.1
    """Share of cases that go to validation, by hash of the case's name."""

    def __post_init__(self) -> None:
        if self.patch_px % max(SCALES) or self.patch_px < SMALLEST_PATCH_PX:
            raise DatasetError(
                f"patches of {self.patch_px} px are not possible; "
                f"choose a multiple of {max(SCALES)} from {SMALLEST_PATCH_PX} on"
            )
        if not (math.isfinite(self.coarsest_mpp) and self.coarsest_mpp > 0 and self.most_patches > 0):
            raise DatasetError("the coarsest pitch and the number of patches must be above 0")
        if not 0 <= self.val_share < 1:
            raise DatasetError(f"{self.val_share:g} is no share for validation; give one from 0 up to but not 1")
        try:
            re.compile(self.case_pattern)
        except re.error as error:
            raise DatasetError(f"{self.case_pattern!r} is not a regular expression: {error}") from error

    def case(self, slide: Path) -> str:
        """Name of the patient or specimen that a slide shows, from its file name."""
        found = re.search(self.case_pattern, slide.name)
        return (found and found.group(0)) or slide.stem

    def split(self, case: str) -> str:
        """`train` or `val`, the same for a case whatever other cases there are."""
        fraction = int.from_bytes(hashlib.sha256(case.encode()).digest()[:4], "big") / 2**32
        return "val" if fraction < self.val_share else "train"


def choose(contrasts: Sequence[float], most: int) -> list[int]:
    """Indices of the patches to keep, in order: those with contrast, and flat ones up to their share of them."""
    flat = [i for i, contrast in enumerate(contrasts) if contrast < FLAT_CONTRAST]
    full = _spread([i for i, contrast in enumerate(contrasts) if contrast >= FLAT_CONTRAST], most)
    return sorted(full + _spread(flat, max(2, round(FLAT_SHARE * len(full))) if full else 0))


def _spread(items: list[int], most: int) -> list[int]:
    """At most so many of the items, evenly spaced."""
    return items if len(items) <= most else [items[i * len(items) // most] for i in range(most)]
