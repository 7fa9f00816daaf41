"""Peak memory of `wsisr upscale` by the size of what it writes: a process of its own each time.

    python -m tests.bench memory SLIDE [--sides 10240 20480 40960] [--network 4096] [--json FILE]

Sources are made of the slide's tiles, a quarter as wide and high, and enlarged by bicubic; one row goes through the
default network at twice its size.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.repeated_slides import TILE_PX, repeated, tissue
from tests.bench.result_tables import Row, report
from wsisr.imaging.geometry import Size


def run(source: Path, scale: int, *options: str) -> tuple[float, float]:
    """Seconds and peak resident MB of one command."""
    output = source.with_suffix(".out.ome.tif")
    command = [sys.executable, "-m", "wsisr", "upscale", str(source), "--scale", str(scale), "-o", str(output), "-q"]
    began = time.perf_counter()
    process = subprocess.Popen([*command, *options])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if code := os.waitstatus_to_exitcode(status):
        sys.exit(f"{' '.join(command)}: exit code {code}")
    output.unlink()
    return seconds, usage.ru_maxrss * 1024 / 1e6


def row(folder: Path, pattern: list[list[bytes]], model: str, side: int, scale: int) -> Row:
    """Of an output of about so many px squared."""
    px = max(TILE_PX, side // scale // TILE_PX * TILE_PX)
    source = repeated(folder / "source.tif", Size(px, px), pattern)
    seconds, peak = run(source, scale, *([] if model == "network" else ["--model", model]))
    return {"model": model, "output px": px * scale, "peak MB": peak, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--sides", type=int, nargs="*", default=[10240, 20480, 40960], help="px of the output")
    parser.add_argument("--network", type=int, nargs="*", default=[4096], help="the same through the network, at x2")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    pattern = tissue(asked.slide)
    with TemporaryDirectory() as name:
        rows = [row(Path(name), pattern, "bicubic", side, 4) for side in asked.sides]
        rows += [row(Path(name), pattern, "network", side, 2) for side in asked.network]
    report(rows, asked.json)


if __name__ == "__main__":
    main()
