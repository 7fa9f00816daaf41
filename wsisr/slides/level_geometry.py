"""Levels compared with level 0: what part of it a stored level shows, and how many of its pixels each pixel covers.

Sizes alone say it only for a plain pyramid. Other files hold levels that are padded to whole tiles (Philips in DICOM
and TIFF), shrunk along one axis only (ngff-zarr), or cut out elsewhere. A level's own recorded pixel size decides
there; without one, its size has to fit exactly one of these relations, or it is not used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from wsisr.imaging.geometry import Size

Ratios: TypeAlias = tuple[float, float]
"""Level-0 px per px of a level, along x and along y."""

_SQUARE = (1.0, 1.0)

_ROUNDING_PX = 1.0
"""Pixels by which writers round a level's sides, up or down."""

_ROUNDING = 0.005
"""Relative difference on top of it: pixel sizes are written with few digits, and halved sizes rounded at each step."""

_SQUARE_TOLERANCE = 0.02
"""Relative difference between both axes up to which a level counts as shrunk alike."""

_MAX_STRETCH = 16.0
"""Largest ratio of a level's axes; a level narrower than that costs more to read than it saves."""

_MAX_SHIFT_PX = 2.0
"""Shift in px of a level from which it shows another place. Conventions (a pixel's corner or its centre) differ by
half a pixel."""


@dataclass(frozen=True, slots=True)
class LevelRecord:
    """What a file records of one of its levels."""

    size: Size
    """Size as stored, in px."""
    tile: Size | None = None
    """Size of its tiles, to whole ones of which it may be padded."""
    spacing: tuple[float, float] | None = None
    """Its own pixel size along x and y, in a unit that is the same for all levels; None where it has none."""
    origin: tuple[float, float] | None = None
    """Where its first pixel lies, along x and y in that unit, from a point that is the same for all levels."""


@dataclass(frozen=True, slots=True)
class LevelPlacement:
    """How a stored level lies on level 0."""

    number: int
    """Number of the stored level."""
    downsample: float
    """Level-0 px per px of the level, once its pixels are square."""
    size: Size
    """Size of the part that shows level 0, in square pixels."""
    stretch: tuple[float, float] = _SQUARE
    """Stored px per square px along x and y."""


def place_levels(
    records: Sequence[LevelRecord], downsamples: Sequence[float]
) -> tuple[tuple[LevelPlacement, ...], tuple[str, ...]]:
    """Return the placement of each level that can be used, from fine to coarse, and warnings of the others.

    `downsamples` are those of the reader, from sizes alone; they are kept for the levels that are plainly shrunk.
    """
    base = records[0].size
    placements, warnings = [LevelPlacement(0, downsamples[0], base)], []
    for number, record in enumerate(records[1:], start=1):
        placement = _place_level(records[0], record, number, downsamples[number])
        if placement is None:
            warnings.append(f"level {number} ({record.size} px) is not used: no plain shrink of level 0 ({base} px)")
        else:
            placements.append(placement)
    used = [placement for placement in placements if not _is_superseded(placement, placements)]
    for placement in placements:
        if placement.stretch != _SQUARE:
            across, down = (placement.downsample / factor for factor in placement.stretch)
            unused = "is not used: another level shows the same in square pixels"
            action = "is made square" if placement in used else unused
            level = f"level {placement.number} is shrunk {across:.4g} times across and {down:.4g} times down"
            warnings.append(f"{level}; it {action}")
    return tuple(sorted(used, key=lambda placement: placement.downsample)), tuple(warnings)


def _is_superseded(placement: LevelPlacement, others: Sequence[LevelPlacement]) -> bool:
    """Whether a level that has to be made square shows no more than one that is: ngff-zarr shrinks by turns."""
    same = (other for other in others if _is_isotropic((placement.downsample, other.downsample)))
    return placement.stretch != _SQUARE and any(other.stretch == _SQUARE for other in same)


def _place_level(base: LevelRecord, record: LevelRecord, number: int, downsample: float) -> LevelPlacement | None:
    """Place one level; None where its relation to level 0 is not known, or it shows another place."""
    recorded = _compute_recorded_ratios(base, record)
    is_recorded = recorded is not None and _fits(base, record, recorded, _is_shrunk_or_padded)
    if _is_displaced(base, record, recorded or (downsample, downsample)):
        return None
    if recorded is not None and is_recorded and not _is_plain(base.size, record.size, recorded):
        return _make_placement(base, record, number, recorded)
    guesses = list(_guess_ratios(base, record))
    may_be_padded = any(not _is_plain_by_axis(base.size, record.size, guess) for guess in guesses)
    factor = _find_whole_factor(base.size, record.size)
    # A third in whole tiles may as well be a padded quarter; halves and quarters are taken for what they are.
    is_sure = factor is not None and (factor.bit_count() == 1 or not may_be_padded)
    if is_recorded or is_sure:
        return LevelPlacement(number, downsample, record.size)
    if _has_common_ratio(base.size, record.size):
        # It may as well be padded alike along both axes as shrunk by a fraction.
        return None if may_be_padded else LevelPlacement(number, downsample, record.size)
    return _make_placement(base, record, number, guesses[0]) if len(guesses) == 1 else None


def _make_placement(base: LevelRecord, record: LevelRecord, number: int, ratios: Ratios) -> LevelPlacement | None:
    downsample = max(ratios)
    stretch = _SQUARE if _is_isotropic(ratios) else (downsample / ratios[0], downsample / ratios[1])
    if max(stretch) > _MAX_STRETCH:
        return None
    if stretch == _SQUARE:
        downsample = sum(ratios) / 2
    sides = [
        (math.floor(stored / factor), whole / downsample)
        for stored, whole, factor in zip(_sides(record.size), _sides(base.size), stretch, strict=True)
    ]
    width, height = (max(1, side if _is_rounded(side, exact) else round(exact)) for side, exact in sides)
    return LevelPlacement(number, downsample, Size(width, height), stretch)


def _compute_recorded_ratios(base: LevelRecord, record: LevelRecord) -> Ratios | None:
    """Return the ratios of the recorded pixel sizes; None where the level records none, or that of level 0."""
    if base.spacing is None or record.spacing is None or min(*base.spacing, *record.spacing) <= 0:
        return None
    across, down = (own / whole for own, whole in zip(record.spacing, base.spacing, strict=True))
    is_copied = abs(across - 1) < _SQUARE_TOLERANCE and abs(down - 1) < _SQUARE_TOLERANCE
    return None if is_copied else (across, down)


def _is_displaced(base: LevelRecord, record: LevelRecord, ratios: Ratios) -> bool:
    if base.origin is None or record.origin is None or base.spacing is None or min(base.spacing) <= 0:
        return False
    shifts = zip(base.origin, record.origin, base.spacing, ratios, strict=True)
    return any(abs(own - first) / spacing > _MAX_SHIFT_PX * ratio for first, own, spacing, ratio in shifts)


def _guess_ratios(base: LevelRecord, record: LevelRecord) -> Iterator[Ratios]:
    """Yield the relations that a level's size fits: padded at a power of two, or shrunk by two whole factors."""
    for power in range(1, 17):
        if _fits(base, record, (2**power, 2**power), _is_shrunk_or_padded):
            yield 2**power, 2**power
    whole = [max(1, round(first / own)) for first, own in zip(_sides(base.size), _sides(record.size), strict=True)]
    if _is_plain_by_axis(base.size, record.size, (whole[0], whole[1])):
        yield whole[0], whole[1]


def _fits(
    base: LevelRecord, record: LevelRecord, ratios: Ratios, fits_axis: Callable[[int, int, float, int, int], bool]
) -> bool:
    axes = zip(_sides(base.size), _sides(record.size), ratios, _sides(base.tile), _sides(record.tile), strict=True)
    return all(fits_axis(*axis) for axis in axes)


def _is_shrunk_or_padded(whole: int, stored: int, ratio: float, base_tile: int, tile: int) -> bool:
    """Whether a side of a level is that of level 0, shrunk and rounded, where either may be padded to whole tiles."""
    exact = whole / ratio
    if _is_rounded(stored, exact):
        return True
    if stored > exact:
        return tile > 0 and stored % tile == 0 and stored < exact + tile + _ROUNDING_PX
    return base_tile > 0 and whole % base_tile == 0 and stored > (whole - base_tile) / ratio - _ROUNDING_PX


def _is_plain(whole: Size, stored: Size, ratios: Ratios) -> bool:
    return _is_isotropic(ratios) and _is_plain_by_axis(whole, stored, ratios)


def _is_plain_by_axis(whole: Size, stored: Size, ratios: Ratios) -> bool:
    axes = zip(_sides(whole), _sides(stored), ratios, strict=True)
    return all(_is_rounded(own, first / ratio) for first, own, ratio in axes)


def _find_whole_factor(whole: Size, stored: Size) -> int | None:
    """Return the whole factor by which a level is shrunk, up to the rounding of its sides; the longer one tells it."""
    own, first = max(zip(_sides(stored), _sides(whole), strict=True))
    factor = max(1, round(first / own))
    is_shrunk = _has_common_ratio(whole, stored) and _is_plain_by_axis(whole, stored, (factor, factor))
    return factor if is_shrunk else None


def _is_isotropic(ratios: Ratios) -> bool:
    return abs(ratios[0] - ratios[1]) <= _SQUARE_TOLERANCE * max(ratios)


def _has_common_ratio(whole: Size, stored: Size) -> bool:
    """Whether one ratio gives both sides of a level, if they were rounded up or down by a pixel."""
    low, high = 0.0, math.inf
    for first, own in zip(_sides(whole), _sides(stored), strict=True):
        low = max(low, first / (own + _ROUNDING_PX) * (1 - _ROUNDING))
        high = min(high, first / max(own - _ROUNDING_PX, 1e-9) * (1 + _ROUNDING))
    return low <= high


def _is_rounded(stored: float, exact: float) -> bool:
    return abs(stored - exact) <= _ROUNDING_PX + _ROUNDING * exact


def _sides(size: Size | None) -> tuple[int, int]:
    return (0, 0) if size is None else (size.width, size.height)
