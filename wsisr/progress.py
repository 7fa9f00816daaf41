"""How far a long work is: what iterators yield, callers draw, and people read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """A count towards a known total."""

    stage: str
    """What is being counted: `upscale`, `pyramid`, `assemble`, ..."""
    done: int
    total: int
    before: int = 0
    """How much of `done` an earlier run had done."""


def counted(number: int, noun: str) -> str:
    """`1 pair`, `2,000 pairs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
