"""Settings of the C library's heap: memory that one layer or tile frees is reused by the next one."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of glibc's mallopt(3)."""

_MAX_BYTES = 2**31 - 1


def keep_freed_memory() -> None:
    """Let glibc keep freed memory, from now on and in the whole process; without effect on other C libraries.

    By default glibc maps every activation of some 100 MB anew, and the kernel clears it page by page: this was a third
    of the time of a network on a CPU, and a tenth of the processor time of all other work beside a GPU
    (`tests.bench without_network`). There is one arena, because only the main one can hold blocks that large. In
    exchange the process never returns the largest amount of memory that it needed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_THRESHOLD, _MAX_BYTES)
        mallopt(_TRIM_THRESHOLD, _MAX_BYTES)
