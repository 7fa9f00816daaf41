"""Processes that die in the middle of something, at the price of one start: forks of one that has imported all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from tests.support.samples import REPOSITORY

FORKING = """
import os, sys
exec(sys.argv[1])
for call in sys.argv[2:]:
    process = os.fork()
    if not process:
        exec(call)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""


def run_in_forks(preparation: str, calls: Sequence[str]) -> list[int]:
    """Run each call in a fork of one new process; return their exit codes, minus its number for a signal.

    The preparation is run once, before the forks: imports and functions, but nothing that starts a thread.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", FORKING, preparation, *calls]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return [int(code) for code in done.stdout.split()]
