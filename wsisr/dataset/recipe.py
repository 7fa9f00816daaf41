"""The recipe of a dataset: patch size, coarsest pixel size, number of patches, cases and their split."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from wsisr.bounds import MAX_PATCH_PX
from wsisr.dataset.case_names import derive_case_name
from wsisr.dataset.records import SCALES
from wsisr.errors import ConfigError

MIN_PATCH_PX = 64

MAX_OVERLAP = 0.25


@dataclass(frozen=True, slots=True)
class Recipe:
    """How patches are selected and split."""

    patch_px: int = 192
    """Side of a high-resolution patch; a multiple of 8."""
    coarsest_mpp: float = 2.1
    """Levels coarser than this, in um/px, give no high-resolution patches."""
    most_patches: int = 1000
    """Most patches with contrast from one level of one slide."""
    case_pattern: str | None = None
    """Regular expression for the case within a file name; without a match, the case is the name without suffix. None
    goes by the conventions of `wsisr.dataset.case_names`."""
    overlap: float = 0.0
    """Overlap of neighbouring patches as a share of their side, 0 to 0.25."""
    val_share: float = 0.1
    """Share of cases that go to validation, by a hash of the case's name; or of each slide, see `split_by_place`."""
    split_by_place: bool = False
    """Hold out a part of each slide in place of cases; see `wsisr.dataset.place_split`."""

    def __post_init__(self) -> None:
        if self.patch_px % max(SCALES) or not MIN_PATCH_PX <= self.patch_px <= MAX_PATCH_PX:
            raise ConfigError(
                f"patches of {self.patch_px} px are not possible; "
                f"choose a multiple of {max(SCALES)} from {MIN_PATCH_PX} to {MAX_PATCH_PX}"
            )
        if not (math.isfinite(self.coarsest_mpp) and self.coarsest_mpp > 0 and self.most_patches > 0):
            raise ConfigError("the coarsest pixel size and the number of patches must be above 0")
        if not 0 <= self.overlap <= MAX_OVERLAP:
            raise ConfigError(f"an overlap of {self.overlap:g} is not possible; choose 0 to {MAX_OVERLAP:g}")
        if self.split_by_place and not self.val_share:
            raise ConfigError("split by place, a share of each slide is held out; give a validation share above 0")
        if not 0 <= self.val_share < 1:
            raise ConfigError(f"a validation share of {self.val_share:g} is not possible; choose 0 or more, below 1")
        try:
            re.compile(self.case_pattern or "")
        except re.error as error:
            raise ConfigError(f"{self.case_pattern!r} is not a regular expression: {error}") from error

    @property
    def step_px(self) -> int:
        """Distance of neighbouring patches on the grid: a multiple of the largest scale, so that boxes are whole px
        at every level."""
        unit = max(SCALES)
        return -(-round(self.patch_px * (1 - self.overlap)) // unit) * unit

    @property
    def place_share(self) -> float:
        """Share of each slide that is held out by place; 0 where cases are split."""
        return self.val_share if self.split_by_place else 0.0

    def describe(self) -> dict[str, str]:
        """Return all options as text: name to value."""
        # A key that was added later is left out at its default, so that builds begun before can be finished.
        options = {name: value for name, value in asdict(self).items() if name != "split_by_place" or value}
        return {name: "default" if value is None else str(value) for name, value in options.items()}

    def derive_case(self, slide: Path) -> str:
        """Return the patient or specimen of a slide, from its file name."""
        if self.case_pattern is None:
            case = derive_case_name(slide.name)
        else:
            match = re.search(self.case_pattern, slide.name)
            case = (match and match.group(0)) or slide.stem
        return case.encode("utf-8", "replace").decode()  # a name may be no valid text

    def assign_split(self, case: str) -> str:
        """Return `train` or `val`; a case keeps its split when other cases are added."""
        return "val" if _hash_to_fraction(case) < self.val_share else "train"

    def find_val_share(self, cases: Collection[str]) -> float:
        """Return a share of cases for validation by which just one of two or more cases is drawn."""
        first, second = sorted(map(_hash_to_fraction, cases))[:2]
        middle = (first + second) / 2
        # As few digits as tell the two apart; the fractions are of 32 bits.
        return next((share for digits in range(2, 12) if first < (share := round(middle, digits)) <= second), middle)


def _hash_to_fraction(case: str) -> float:
    """Return a number from 0 to 1, always the same for a name."""
    # Not `hash`, which Python salts anew in every process.
    return int.from_bytes(hashlib.sha256(case.encode()).digest()[:4], "big") / 2**32
