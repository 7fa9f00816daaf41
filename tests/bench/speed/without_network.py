"""All of a run but the network: what bounds `wsisr upscale` where a GPU is faster than all that is done beside it.

    python -m tests.bench without_network SLIDE [--mpx 120] [--share 0.34] [--rounds 3]

A slide of so many Mpx, a share of it tissue, goes through `upscale` as it would with a GPU and more than four cores,
but in the place of the network each pixel is repeated. In seconds for 10^9 px of the result: `wall` here; `own` of
processor time in the process that has the network, where threads take turns in Python; `hands` in the processes that
code tiles. `16 cores` is both spread over so many cores like these, the least that the result can take there.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.bench.repeated_slides import repeated, tissue, whole_tiles
from tests.bench.result_tables import Row, report
from wsisr.imaging.pixels import RgbBatch
from wsisr.models.backends.malloc import keep_freed_memory
from wsisr.models.upscaler import UpscalerInfo, Weights
from wsisr.slides import open_slide
from wsisr.slides.region import select_region
from wsisr.tissue import find_tissue
from wsisr.upscaling.background import BackgroundOptions
from wsisr.upscaling.engine import run_plan
from wsisr.upscaling.plan import UpscaleOptions, plan_upscaling
from wsisr.upscaling.quality import QualityMonitor
from wsisr.writing import WorkFolder
from wsisr.writing.encoding import encoder_pool

CORES = 16


@dataclass(frozen=True, slots=True)
class Repeating:
    """As good as no time; cut and batched as for a network on a GPU."""

    info: UpscalerInfo = UpscalerInfo(  # noqa: RUF009 - frozen
        "pixels repeated",
        scale=2,
        receptive_field=18,
        hardware="on no GPU, but as if",
        on_gpu=True,
        weights=Weights(None, "0" * 64),
    )
    warnings: tuple[str, ...] = ()

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        return tiles.repeat(self.info.scale, axis=1).repeat(self.info.scale, axis=2)


def spent(path: Path, share: float) -> Row:
    """Of one run, for 10^9 px."""
    upscaler = Repeating()
    with open_slide(path) as slide:
        background = BackgroundOptions(find_tissue(slide)) if share < 1 else BackgroundOptions()
        work = plan_upscaling(
            select_region(slide),
            upscaler,
            UpscaleOptions(background=background, quality=QualityMonitor(upscaler.info.scale)),
        )
        output, before, began = path.with_suffix(".out.ome.tif"), os.times(), time.perf_counter()
        deque(run_plan(work, output, folder=WorkFolder()), 0)
        wall, after = time.perf_counter() - began, os.times()
    output.unlink()
    own = after.user + after.system - before.user - before.system
    coding = after.children_user + after.children_system - before.children_user - before.children_system
    gpx = work.output.size.pixel_count / 1e9
    seconds = {"wall": wall, "own": own, "hands": coding, f"{CORES} cores": (own + coding) / CORES}
    return {name: each / gpx for name, each in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--mpx", type=float, default=120, help="of the input")
    parser.add_argument("--share", type=float, default=0.34, help="of the columns that hold tissue; the rest is glass")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    encoder_pool.FEW_CORES = 0
    keep_freed_memory()
    with TemporaryDirectory() as name:
        path = repeated(Path(name) / "large.tif", whole_tiles(asked.mpx * 1e6), tissue(asked.slide), asked.share)
        runs = [spent(path, asked.share) for _ in range(asked.rounds)]
    row: Row = {name: median(float(run[name]) for run in runs) for name in runs[0]}
    report([{"input Mpx": asked.mpx, "tissue": asked.share} | row], asked.json, rounds=asked.rounds)


if __name__ == "__main__":
    main()
