"""Run process: whether the process of another run is still at work."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

FOREIGN_REST_S = 300.0
"""Seconds after its last sign during which a run on another machine, which cannot be looked at, counts as at work."""

CLOCK_TOLERANCE_S = 2.0
"""Seconds by which the clocks of a file and of a process may differ."""


def is_at_work(host: Any, process: Any, written: float) -> bool:
    """Return whether the process of a run is alive, given when the run has last written a file (s since 1970).

    Of a run on another machine only that time can be known. This process itself is no other run: its number was that
    of a process that has ended, as in containers, where numbers are small.
    """
    if host != socket.gethostname():
        return host is not None and time.time() - written < FOREIGN_REST_S
    if not isinstance(process, int) or process < 1 or process == os.getpid():
        return False
    return _is_alive(process) and not _began_later(process, written)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def _began_later(process: int, moment: float) -> bool:
    """Return whether a process began after a moment: it has the number of one that has ended. Linux only."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return False
    return time.time() - age > moment + CLOCK_TOLERANCE_S
