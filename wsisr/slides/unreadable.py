"""Holes: places of a slide that could not be decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

MOST = 1000
"""That are listed one by one."""


class Hole(NamedTuple):
    """A place that could not be decoded, in px of its level, half-open."""

    level: int
    left: int
    top: int
    right: int
    bottom: int

    @property
    def packed(self) -> str:
        """Its numbers with spaces between."""
        return " ".join(map(str, self))

    @classmethod
    def parsed(cls, packed: str) -> Hole:
        return cls(*map(int, packed.split()))

    def __str__(self) -> str:
        return f"level {self.level}: {self.right - self.left} x {self.bottom - self.top} px at {self.left}, {self.top}"


def listed(holes: Iterable[Hole]) -> str:
    """All of them in words, as few and large as can be."""
    pieces = in_one_piece(holes)
    more = f"; and {len(pieces) - MOST} more" if len(pieces) > MOST else ""
    return "; ".join(map(str, pieces[:MOST])) + more


def in_one_piece(holes: Iterable[Hole]) -> list[Hole]:
    """The same area in few rectangles: neighbours of a row become one, then rows of the same width."""
    rows = _joined(sorted(set(holes), key=lambda hole: (hole.level, hole.top, hole.bottom, hole.left)), _beside)
    return _joined(sorted(rows, key=lambda hole: (hole.level, hole.left, hole.right, hole.top)), _below)


def _joined(holes: Iterable[Hole], touch: Callable[[Hole, Hole], bool]) -> list[Hole]:
    joined: list[Hole] = []
    for hole in holes:
        if joined and touch(joined[-1], hole):
            joined[-1] = joined[-1]._replace(right=hole.right, bottom=hole.bottom)
        else:
            joined.append(hole)
    return joined


def _beside(one: Hole, other: Hole) -> bool:
    return one._replace(left=one.right, right=other.right) == other


def _below(one: Hole, other: Hole) -> bool:
    return one._replace(top=one.bottom, bottom=other.bottom) == other
