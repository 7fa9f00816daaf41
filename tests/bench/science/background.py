"""What leaving glass to bicubic changes: the network's pixels beside bicubic's, on cells without tissue.

`python -m tests.bench background SLIDE ...` prints, for each slide, the share of area left out, and how far apart the
two are there: the largest difference in grey levels, and the share of values that differ by more than one.
"""

from __future__ import annotations

import sys

import numpy as np

from wsisr.models.loading import load_upscaler
from wsisr.slides import open_slide
from wsisr.slides.region import select_region
from wsisr.tissue import find_tissue
from wsisr.upscaling.background import BackgroundOptions, expand_cells
from wsisr.upscaling.batches import group_batches
from wsisr.upscaling.plan import UpscaleOptions, plan_upscaling

SCALE = 2
MOST_TILES = 12
"""Of 256 px a slide, those with the most background first."""


def compared(path: str) -> str:
    with open_slide(path, estimate=True) as slide:
        source = select_region(slide)
        upscaler = load_upscaler(scale=SCALE, mpp=source.mpp)
        work = plan_upscaling(source, upscaler, UpscaleOptions(256, background=BackgroundOptions(find_tissue(slide))))
        tiles = sorted(work.grid, key=lambda tile: float(work.background.tissue_in(tile.core).mean()))[:MOST_TILES]
        found = np.zeros(256, np.int64)
        for (tile,) in group_batches(tiles, 1):
            flags = work.background.tissue_in(tile.core)
            window = source.read(tile.input_box)
            part = tile.core.translate(-tile.input_box.left, -tile.input_box.top) * SCALE
            network = upscaler(window[None])[0][part.rows, part.columns]
            painted = work.background.fill_background(tile, window, flags, network, SCALE)
            outside = ~expand_cells(flags, work.background.cell_px * SCALE, network)
            apart = np.abs(network.astype(np.int16) - painted)[outside]
            found += np.bincount(apart.ravel(), minlength=256)
    largest = int(np.flatnonzero(found)[-1]) if found.any() else 0
    more = found[2:].sum() / max(found.sum(), 1)
    return f"{work.background.skipped_share:8.1%} {largest:8} {more:12.2e} {found.sum() / 3e6:9.2f}"


if __name__ == "__main__":
    sys.stdout.write(f"{'skipped':>8} {'largest':>8} {'over 1':>12} {'Mpx':>9}  slide\n")
    for each in sys.argv[1:]:
        sys.stdout.write(f"{compared(each)}  {each.rsplit('/', 1)[-1]}\n")
        sys.stdout.flush()
