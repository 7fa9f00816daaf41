"""Time from the start of `wsisr upscale` to its first finished tile, of this build, or beside another one in turns.

    python -m tests.bench first_tile SLIDE [--beside FOLDER] [--turns 5] [--threads N] [--scale 2]

`--beside` is the folder of a checkout of another build, which the same Python runs. Each run is killed when the journal
of its work folder has its first record. Time on the clock is what a person waits for. That of the processor, without
processes that encode, stays comparable on a busy machine.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich import print as show

from tests.support.samples import REPOSITORY

POLL_S = 0.005
RECORD_BYTES = 32
"""A journal that holds a record is larger, in any build."""


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from the start of a process to its first tile."""

    clock_s: float
    processor_s: float


def measure_start(build: Path, slide: Path, scale: str, threads: int | None) -> Start:
    """Start a build's `wsisr upscale`, kill it once a tile is finished, and return how long that took."""
    with TemporaryDirectory() as name:
        output, began = Path(name) / "result.ome.tif", time.monotonic()
        journal = Path(f"{output}.wsisr-part") / "level-0.journal"
        environment = os.environ | {"PYTHONPATH": str(build), "WSISR_CACHE_DIR": f"{name}/cache"}
        if threads:
            environment["OMP_NUM_THREADS"] = str(threads)
        command = [sys.executable, "-m", "wsisr", "upscale", str(slide), "-o", str(output), "--scale", scale]
        process = subprocess.Popen(
            command,
            cwd=build,
            env=environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        while not (journal.exists() and journal.stat().st_size >= RECORD_BYTES):
            if process.poll() is not None:
                sys.exit(f"{build}: ended before its first tile: {process.stderr and process.stderr.read().decode()}")
            time.sleep(POLL_S)
        clock_s = time.monotonic() - began
        os.killpg(process.pid, signal.SIGKILL)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = -signal.SIGKILL
        return Start(clock_s, usage.ru_utime + usage.ru_stime)


def main() -> None:
    """Print the medians, and the ratios to the other build turn by turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--scale", default="2")
    arguments = parser.parse_args()
    builds = [REPOSITORY, *([arguments.beside.resolve()] if arguments.beside else [])]
    starts: list[list[Start]] = [[] for _ in builds]
    for turn in range(arguments.turns):
        for number in range(len(builds))[:: 1 if turn % 2 else -1]:
            starts[number].append(
                measure_start(builds[number], arguments.slide.resolve(), arguments.scale, arguments.threads)
            )
    for build, of_build in zip(builds, starts, strict=True):
        clock_s, processor_s = (median(getattr(start, key) for start in of_build) for key in Start.__slots__)
        show(f"{build}: {clock_s:.2f} s on the clock, {processor_s:.2f} s of the processor")
    for noun, key in (("clock", "clock_s"), ("processor", "processor_s")) if arguments.beside else ():
        ratios = [getattr(new, key) / getattr(old, key) for new, old in zip(*starts, strict=True)]
        show(f"{noun}, by the other build: median {median(ratios):.2f}; {' '.join(f'{ratio:.2f}' for ratio in ratios)}")


if __name__ == "__main__":
    main()
