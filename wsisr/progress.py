"""How far a long work is: what iterators yield and callers draw."""

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
