"""What coding tiles by processes leaves to the process that has the network, beside coding them by threads.

    python -m tests.bench encoder_pool SLIDE [--mpx 100] [--processes 2] [--rounds 3]

A slide's tissue, repeated to so many Mpx, is written as a pyramid, block by block, in turns. `own` is how many seconds
of processor time this process took for 10^9 px: threads take turns in that, which bounds how fast the whole can be,
however many cores there are. All of it counts, that of C libraries too, which threads do beside each other.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from tests.bench.result_tables import Row, report
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import open_slide
from wsisr.writing import PyramidSpec, PyramidWriter

BLOCK_PX = 3584


def written(path: Path, pattern: Rgb, blocks: int, processes: int) -> tuple[float, float]:
    """Seconds, and seconds of processor time, for 10^9 px; start and end of the processes are in the first alone."""
    size = Size(BLOCK_PX * blocks, BLOCK_PX)
    began = time.perf_counter()
    with PyramidWriter(path, PyramidSpec(size, 0.25, 256), encoder_processes=processes) as writer:
        own = time.process_time()
        for number in range(blocks):
            writer.write(Box(number * BLOCK_PX, 0, (number + 1) * BLOCK_PX, BLOCK_PX), pattern)
        own = time.process_time() - own
        deque(writer.finish(), 0)
    path.unlink()
    return (time.perf_counter() - began) * 1e9 / size.pixel_count, own * 1e9 / size.pixel_count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--mpx", type=float, default=100)
    parser.add_argument("--processes", type=int, default=2, help="processes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with open_slide(asked.slide, estimate=True) as slide:
        whole = slide.read(Box.from_size(slide.info.size), 0)
    times = -(-BLOCK_PX // whole.shape[0]), -(-BLOCK_PX // whole.shape[1])
    pattern = np.ascontiguousarray(np.tile(whole, (*times, 1))[:BLOCK_PX, :BLOCK_PX])
    blocks = max(1, round(asked.mpx * 1e6 / BLOCK_PX**2))
    ways = {"threads": 0, f"{asked.processes} processes": asked.processes}
    with TemporaryDirectory() as name:
        path = Path(name) / "written.ome.tif"
        turns = [[written(path, pattern, blocks, count) for count in ways.values()] for _ in range(asked.rounds)]
    rows: list[Row] = [
        {
            "by": way,
            "s/Gpx": median(turn[number][0] for turn in turns),
            "own s/Gpx": median(turn[number][1] for turn in turns),
            "share of threads'": median(turn[number][1] / turn[0][1] for turn in turns),
        }
        for number, way in enumerate(ways)
    ]
    report(rows, asked.json, rounds=asked.rounds)


if __name__ == "__main__":
    main()
