"""CPU cores that this process may use: fewer than the machine has if it shares the machine."""

from __future__ import annotations

import os


def count_usable_cores() -> int:
    """Count the cores this process may use; if the system does not tell (macOS), all of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
