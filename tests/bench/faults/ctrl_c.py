"""Runs the tests that press Ctrl-C, over and over on a busy machine, and counts what fails or never ends.

    python -m tests.bench ctrl_c [--runs 200] [--busy 6] [--at-once 1] [--tests NODE ...]

`--busy` processes do nothing but count beside the tests, and end with the bench, or after `--limit-s` at the latest.
Signals that follow one another closely reach different threads of a process only where threads wait for a core, so a
quiet machine shows nothing. The bench exits with 1 if a run failed, and prints what pytest said of the first of them.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from tests.support.samples import REPOSITORY

TESTS = (
    "tests/cli/test_shutdown.py::test_an_interrupted_program_says_so_and_exits_with_130",
    "tests/cli/test_shutdown.py::test_the_second_ctrl_c_waits_for_no_tile",
)
"""Each starts a program of its own and presses Ctrl-C in it."""

RUN_LIMIT_S = 900
"""Seconds after which a run of all the tests counts as one that never ends."""


@contextmanager
def keep_busy(count: int, limit_s: float) -> Iterator[None]:
    """Context: `count` busy loops. Each ends with this process, and by itself after `limit_s` seconds."""
    loop = f"""if True:
        import os, time
        end = time.monotonic() + {limit_s}
        while time.monotonic() < end and os.getppid() == {os.getpid()}:
            pass
    """
    processes = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run_tests(tests: list[str]) -> str:
    """Run the tests once, in a process of their own; return what pytest printed if one failed, else nothing."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    # pytests that run at once sweep one shared folder, and trip over what another has just removed.
    with TemporaryDirectory() as folder:
        command += ["--basetemp", f"{folder}/pytest"]
        try:
            done = subprocess.run(
                command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=RUN_LIMIT_S
            )
        except subprocess.TimeoutExpired:
            return f"the tests did not end within {RUN_LIMIT_S} s"
    return done.stdout + done.stderr if done.returncode else ""


def main() -> None:
    """Run the tests over and over, print how many runs failed, and exit with 1 if one did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--busy", type=int, default=6, help="busy loops beside the tests")
    parser.add_argument("--at-once", type=int, default=1, help="runs at a time")
    parser.add_argument("--limit-s", type=float, default=4 * 3600, help="seconds after which no further run begins")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="node ids for pytest")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that busy loops end with the bench
    began = time.monotonic()

    def run(_number: int) -> str | None:
        in_time = time.monotonic() - began < arguments.limit_s
        return run_tests(list(arguments.tests)) if in_time else None

    with (
        keep_busy(arguments.busy, arguments.limit_s + RUN_LIMIT_S),
        ThreadPoolExecutor(arguments.at_once) as pool,
    ):
        results = [result for result in pool.map(run, range(arguments.runs)) if result is not None]
    failures = list(filter(None, results))
    failed = Counter(re.findall(r"^FAILED (\S+)", "\n".join(failures), re.MULTILINE))
    minutes = (time.monotonic() - began) / 60
    sys.stdout.write(f"{len(failures)} of {len(results)} runs failed, in {minutes:.0f} min\n")
    sys.stdout.writelines(f"  {count} times {test}\n" for test, count in failed.most_common())
    if failures:
        sys.exit(failures[0])


if __name__ == "__main__":
    main()
