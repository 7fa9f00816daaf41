"""Progress of long work: iterators yield it, callers draw it; and the wording of counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of a known total is done."""

    stage: str
    """The stage that is counted: `upscale`, `pyramid`, `assemble`, ..."""
    done: int
    total: int
    done_before: int = 0
    """Part of `done` that an earlier run had finished."""


def format_count(number: int, noun: str) -> str:
    """Return a count with its noun: `1 pair`, `2,000 pairs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
