"""Peak memory of `wsisr upscale` by the size of what it writes: processes of its own each time.

    python -m tests.bench memory SLIDE [--sides 10240 20480 40960] [--network 4096] [--json FILE]

Sources are made of the slide's tiles, a quarter as wide and high, and enlarged by bicubic; one row goes through the
default network at twice its size, and one is the slide itself, as in README's first command. Memory is the proportional
set size, summed over the processes of a run, so that what they share counts once; it is looked up every 50 ms (Linux).
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.repeated_slides import TILE_PX, repeated, tissue
from tests.bench.result_tables import Row, report
from wsisr.imaging.geometry import Size
from wsisr.slides import open_slide

INTERVAL_S = 0.05


def list_processes(root: int) -> Iterator[int]:
    """Yield a process and all that it and its threads have started."""
    yield root
    with suppress(OSError):
        for thread in Path(f"/proc/{root}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from list_processes(int(child))


def proportional_mb(pid: int) -> float:
    """The proportional set size of a process; none if it has ended."""
    with suppress(OSError):
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 / 1e6 if found else 0.0
    return 0.0


def run(folder: Path, source: Path, scale: int, *options: str) -> tuple[float, float]:
    """Seconds and peak MB of one command."""
    output, peak = folder / "result.ome.tif", 0.0
    command = [sys.executable, "-m", "wsisr", "upscale", str(source), "--scale", str(scale), "-o", str(output), "-q"]
    began = time.perf_counter()
    process = subprocess.Popen([*command, *options])
    while process.poll() is None:
        peak = max(peak, sum(map(proportional_mb, list_processes(process.pid))))
        time.sleep(INTERVAL_S)
    seconds = time.perf_counter() - began
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}")
    output.unlink()
    return seconds, peak


def row(folder: Path, pattern: list[list[bytes]], model: str, side: int, scale: int) -> Row:
    """Of an output of about so many px squared."""
    px = max(TILE_PX, side // scale // TILE_PX * TILE_PX)
    source = repeated(folder / "source.tif", Size(px, px), pattern)
    seconds, peak = run(folder, source, scale, *([] if model == "network" else ["--model", model]))
    return {"model": model, "output px": px * scale, "peak MB": peak, "seconds": seconds}


def slide_row(folder: Path, slide: Path) -> Row:
    """Of the slide itself, through the network at x2."""
    with open_slide(slide) as opened:
        width = opened.info.size.width
    seconds, peak = run(folder, slide, 2)
    return {"model": "network, the slide", "output px": 2 * width, "peak MB": peak, "seconds": seconds}


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
        rows.append(slide_row(Path(name), asked.slide))
    report(rows, asked.json)


if __name__ == "__main__":
    main()
