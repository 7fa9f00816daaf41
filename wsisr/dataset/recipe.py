"""What a dataset is asked to be: sizes, pitches, numbers, cases and their split."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path

from wsisr.dataset.records import SCALES
from wsisr.errors import DatasetError

MIN_PATCH_PX = 64

MAX_OVERLAP = 0.25


@dataclass(frozen=True, slots=True)
class Recipe:
    """How patches are chosen and split."""

    patch_px: int = 192
    """Side of a high-resolution patch; a multiple of 8."""
    coarsest_mpp: float = 2.1
    """Levels coarser than this, in um/px, give no high-resolution patches."""
    most_patches: int = 1000
    """Patches with contrast that one level of one slide gives at the most."""
    case_pattern: str = r"^[^_.]+"
    """What of a file name, without its folder, names the case; where nothing fits it, the name without its suffix."""
    overlap: float = 0.0
    """Share of a patch's side that it has in common with its neighbour on the grid, at the most a quarter."""
    val_share: float = 0.1
    """Share of cases that go to validation, by hash of the case's name."""

    def __post_init__(self) -> None:
        if self.patch_px % max(SCALES) or self.patch_px < MIN_PATCH_PX:
            raise DatasetError(
                f"patches of {self.patch_px} px are not possible; "
                f"choose a multiple of {max(SCALES)} from {MIN_PATCH_PX} on"
            )
        if not (math.isfinite(self.coarsest_mpp) and self.coarsest_mpp > 0 and self.most_patches > 0):
            raise DatasetError("the coarsest pitch and the number of patches must be above 0")
        if not 0 <= self.overlap <= MAX_OVERLAP:
            raise DatasetError(f"patches overlap by 0 to {MAX_OVERLAP:g} of their side, not by {self.overlap:g}")
        if not 0 <= self.val_share < 1:
            raise DatasetError(f"{self.val_share:g} is no share for validation; give one from 0 up to but not 1")
        try:
            re.compile(self.case_pattern)
        except re.error as error:
            raise DatasetError(f"{self.case_pattern!r} is not a regular expression: {error}") from error

    @property
    def step_px(self) -> int:
        """From patch to patch on the grid, a multiple of the largest scale so that every level has its pixels."""
        unit = max(SCALES)
        return -(-round(self.patch_px * (1 - self.overlap)) // unit) * unit

    def derive_case(self, slide: Path) -> str:
        """Name of the patient or specimen that a slide shows, from its file name."""
        found = re.search(self.case_pattern, slide.name)
        return (found and found.group(0)) or slide.stem

    def assign_split(self, case: str) -> str:
        """`train` or `val`, the same for a case whatever other cases there are."""
        fraction = int.from_bytes(hashlib.sha256(case.encode()).digest()[:4], "big") / 2**32
        return "val" if fraction < self.val_share else "train"
