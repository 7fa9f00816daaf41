"""CPU cores that this process may use: fewer than the machine has if it shares the machine."""

from __future__ import annotations

import os

_limits: list[int] = []


def limit_cores(count: int) -> None:
    """Let this process count as one that may use `count` cores at most, whatever the system tells."""
    _limits[:] = [max(1, count)]


def count_usable_cores() -> int:
    """Count the cores this process may use; if the system does not tell (macOS), all of the machine's."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, *_limits) if _limits else cores
