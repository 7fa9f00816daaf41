"""What leaving glass to bicubic changes: the network's pixels beside bicubic's, on cells without tissue.

`python -m tests.bench background SLIDE ...` prints, for each slide, the share of area left out, and how far apart the
two are there: the largest difference in grey levels, and the share of values that differ by more than one.
"""

from __future__ import annotations

import sys

import numpy as np

from wsisr.models.loading import load_upscaler
from wsisr.slides import open_slide
from wsisr.slides.region import source_of
from wsisr.tissue import tissue_of
from wsisr.upscaling.background import Background, spread
from wsisr.upscaling.engine import batches
from wsisr.upscaling.plan import Options, plan

SCALE = 2
MOST_TILES = 12
"""Of 256 px a slide, those with the most background first."""


def compared(path: str) -> str:
    with open_slide(path, estimate=True) as slide:
        source = source_of(slide)
        upscaler = load_upscaler(scale=SCALE, mpp=source.mpp)
        work = plan(source, upscaler, Options(256, background=Background(tissue_of(slide))))
        tiles = sorted(work.grid, key=lambda tile: float(work.cells.within(tile.block).mean()))[:MOST_TILES]
        found = np.zeros(256, np.int64)
        for (tile,) in batches(tiles, 1):
            flags = work.cells.within(tile.block)
            window = source.read(tile.window)
            part = tile.block.moved(-tile.window.left, -tile.window.top) * SCALE
            network = upscaler(window[None])[0][part.rows, part.columns]
            painted = work.cells.painted(tile, window, flags, network)
            outside = ~spread(flags, work.cells.side * SCALE, network)
            apart = np.abs(network.astype(np.int16) - painted)[outside]
            found += np.bincount(apart.ravel(), minlength=256)
    largest = int(np.flatnonzero(found)[-1]) if found.any() else 0
    more = found[2:].sum() / max(found.sum(), 1)
    return f"{work.cells.skipped:8.1%} {largest:8} {more:12.2e} {found.sum() / 3e6:9.2f}"


if __name__ == "__main__":
    sys.stdout.write(f"{'skipped':>8} {'largest':>8} {'over 1':>12} {'Mpx':>9}  slide\n")
    for each in sys.argv[1:]:
        sys.stdout.write(f"{compared(each)}  {each.rsplit('/', 1)[-1]}\n")
        sys.stdout.flush()
