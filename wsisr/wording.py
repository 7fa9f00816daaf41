"""Numbers in sentences that a person reads."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 pair`, `2,000 pairs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
