"""What a reader says of a file, compared with what was stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from wsisr.imaging.pixels import Rgb

COMPARED = (0, 2)
"""Numbers of the levels whose pixels are compared."""


@dataclass(frozen=True)
class Seen:
    """What a reader says of a file."""

    levels: int
    mpp: float | None
    """um/px of level 0."""
    magnification: float | None
    errors: tuple[int | None, ...] = ()
    """Largest difference to the stored pixels of the `COMPARED` levels, in grey levels; None where a reader has no such
    level. Empty for a reader of metadata."""


Reader: TypeAlias = Callable[[Path, list[Rgb]], Seen]
"""Opens a file and compares it with the levels that are stored in it."""


def compare_levels(read_level: Callable[[int], Any], level_count: int, truth: Sequence[Rgb]) -> tuple[int | None, ...]:
    """Compare what `read_level` returns, (h, w, channels) or (channels, h, w), with what is stored."""
    return tuple(
        measure_difference(read_level(number), truth[number]) if number < level_count else None for number in COMPARED
    )


def measure_difference(pixels: Any, truth: Rgb) -> int:
    array = np.asarray(pixels).squeeze()
    if array.shape[-1] not in (3, 4):
        array = np.moveaxis(array, 0, -1)
    if array.shape[:2] != truth.shape[:2]:
        raise ValueError(f"shape {array.shape[:2]}")
    return int(np.abs(array[..., :3].astype(int) - truth).max())
