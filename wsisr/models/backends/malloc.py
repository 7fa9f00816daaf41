"""The C library's heap: memory that one layer of a network, or one tile, leaves is there for the next."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of glibc's mallopt(3)."""

_MAX_BYTES = 2**31 - 1


def keep_freed_memory() -> None:
    """From now on, for the whole process; does nothing where the C library is not glibc.

    By default glibc asks the system for every activation of some 100 MB anew, and the system clears it page by page:
    this was a third of the time of a network on a CPU, and a tenth of the processor time of all that is done beside a
    GPU (`tests.bench without_network`). One arena, because others than the main one cannot hold blocks that large. In
    exchange the process keeps what it needed at most.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_THRESHOLD, _MAX_BYTES)
        mallopt(_TRIM_THRESHOLD, _MAX_BYTES)
