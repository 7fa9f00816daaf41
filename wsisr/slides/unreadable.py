"""Unreadable regions: rectangles of a slide's level that could not be decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

MAX_LISTED = 1000
"""Rectangles that a description lists; it only counts the others."""


class UnreadableRegion(NamedTuple):
    """A rectangle that could not be decoded, half-open, in px of its level."""

    level: int
    left: int
    top: int
    right: int
    bottom: int

    @property
    def numbers(self) -> str:
        """The five fields as text, separated by spaces: the form that the run log stores."""
        return " ".join(map(str, self))

    @classmethod
    def parse(cls, numbers: str) -> UnreadableRegion:
        """Return the region that `numbers` describes."""
        return cls(*map(int, numbers.split()))

    def __str__(self) -> str:
        return f"level {self.level}: {self.right - self.left} x {self.bottom - self.top} px at {self.left}, {self.top}"


def describe_unreadable_regions(regions: Iterable[UnreadableRegion]) -> str:
    """List the regions in words, after merging them into as few rectangles as `merge_regions` finds."""
    merged = merge_regions(regions)
    more = f"; and {len(merged) - MAX_LISTED} more" if len(merged) > MAX_LISTED else ""
    return "; ".join(map(str, merged[:MAX_LISTED])) + more


def merge_regions(regions: Iterable[UnreadableRegion]) -> list[UnreadableRegion]:
    """Cover the same area with few rectangles: merge neighbours in a row first, then rows of the same width."""
    by_row = sorted(set(regions), key=lambda region: (region.level, region.top, region.bottom, region.left))
    rows = _merge_touching(by_row, _is_right_of)
    by_column = sorted(rows, key=lambda row: (row.level, row.left, row.right, row.top))
    return _merge_touching(by_column, _is_below)


def _merge_touching(
    regions: Iterable[UnreadableRegion], continues: Callable[[UnreadableRegion, UnreadableRegion], bool]
) -> list[UnreadableRegion]:
    """Merge each region into the one before it where it continues that one."""
    merged: list[UnreadableRegion] = []
    for region in regions:
        if merged and continues(region, merged[-1]):
            merged[-1] = merged[-1]._replace(right=region.right, bottom=region.bottom)
        else:
            merged.append(region)
    return merged


def _is_right_of(region: UnreadableRegion, left: UnreadableRegion) -> bool:
    """Whether a region begins where the left one ends, at the same height."""
    return left._replace(left=left.right, right=region.right) == region


def _is_below(region: UnreadableRegion, upper: UnreadableRegion) -> bool:
    """Whether a region begins where the upper one ends, at the same width."""
    return upper._replace(top=upper.bottom, bottom=region.bottom) == region
