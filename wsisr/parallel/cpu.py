"""Cores: how many this process may use, which is fewer than there are where it shares a machine."""

from __future__ import annotations

import os


def cores() -> int:
    """That this process may use; where the system does not tell (macOS), those that there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
