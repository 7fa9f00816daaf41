"""How much of the bare network's speed a whole run keeps: reading, overlap, background, audit, encoding, verification.

    python -m tests.bench efficiency SLIDE [--mpx 2 6] [--share 1] [--rounds 3] [--tile-px N] [--bare-px 1024]
        [--model NAME]

A slide of so many Mpx, all of it tissue or a share, goes through `upscale` with the default model, or another; before
and after, the same network in the same process computes one large window. `efficiency` is the median over the rounds of
what the run gives over what the bare network gives, in output Mpx per second, start-up left out. `cpu` is the same in
output Mpx per second of processor time, which other programs disturb less; `waste` is what overlapping windows compute
twice, and grows with the slide until few windows lie at its border. The last columns say how many seconds each stage
worked; they run beside each other, and some of them in several threads.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from tests.bench.repeated_slides import repeated, tissue, whole_tiles
from tests.bench.result_tables import Row, report
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Upscaler
from wsisr.slides import open_slide
from wsisr.slides.region import select_region
from wsisr.tissue import find_tissue
from wsisr.upscaling.background import BackgroundOptions
from wsisr.upscaling.engine import run_plan
from wsisr.upscaling.plan import UpscaleOptions, UpscalePlan, plan_upscaling
from wsisr.upscaling.quality import QualityMonitor
from wsisr.writing import WorkFolder

STAGES = ("read", "network", "finish", "encode")


@dataclass(frozen=True, slots=True)
class Spent:
    """What some output pixels took."""

    pixels: int
    wall: float
    cpu: float

    @classmethod
    def by(cls, work: Callable[[], int]) -> Spent:
        """`work` gives how many it made."""
        wall, cpu = time.perf_counter(), time.process_time()
        return cls(work(), time.perf_counter() - wall, time.process_time() - cpu)

    @property
    def rate(self) -> float:
        """Output Mpx/s."""
        return self.pixels / 1e6 / self.wall

    @property
    def cpu_rate(self) -> float:
        """Output Mpx per second of processor time."""
        return self.pixels / 1e6 / self.cpu


def bare(upscaler: Upscaler, side: int) -> Spent:
    """The network alone on one window."""
    window = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    return Spent.by(lambda: upscaler(window).size // 3)


def whole(work: UpscalePlan, output: Path) -> Spent:
    """A run as of `wsisr upscale`, work folder and verification included."""

    def run() -> int:
        deque(run_plan(work, output, folder=WorkFolder()), 0)
        return work.output.size.pixel_count

    spent = Spent.by(run)
    output.unlink()
    return spent


def measured(path: Path, upscaler: Upscaler, asked: argparse.Namespace) -> Row:
    ratios, cpu_ratios, rates, bares = [], [], [], []
    with open_slide(path) as slide:
        source = select_region(slide)
        before = bare(upscaler, asked.bare_px)
        for _ in range(asked.rounds):
            tissue = BackgroundOptions(find_tissue(slide)) if asked.share < 1 else BackgroundOptions()
            work = plan_upscaling(
                source,
                upscaler,
                UpscaleOptions(asked.tile_px, background=tissue, quality=QualityMonitor(upscaler.info.scale)),
            )
            spent = whole(work, path.with_suffix(".out.ome.tif"))
            after = bare(upscaler, asked.bare_px)
            alone = (before.rate + after.rate) / 2
            ratios.append(spent.rate / alone)
            cpu_ratios.append(2 * spent.cpu_rate / (before.cpu_rate + after.cpu_rate))
            rates.append(spent.rate)
            bares.append(alone)
            before = after
    stages: Row = {name: work.times.seconds[name] for name in STAGES}
    return {
        "input Mpx": source.size.pixel_count / 1e6,
        "kept": 1 - work.background.skipped_share,
        "tile px": work.grid.tiling.core_px,
        "efficiency": median(ratios),
        "cpu": median(cpu_ratios),
        "waste": work.overlap_overhead,
        "seconds": work.output.size.pixel_count / 1e6 / median(rates),
        "Mpx/s": median(rates),
        "bare Mpx/s": median(bares),
    } | stages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--mpx", type=float, nargs="+", default=[2.0, 6.0], help="of the input")
    parser.add_argument("--share", type=float, default=1.0, help="of the columns that hold tissue; the rest is glass")
    parser.add_argument("--model", help="instead of the default one")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tile-px", type=int)
    parser.add_argument("--bare-px", type=int, default=1024)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    upscaler = load_upscaler(asked.model, scale=asked.scale, mpp=0.5, device=asked.device, precision=asked.precision)
    bare(upscaler, asked.bare_px)  # the first call looks for the fastest kernels and takes memory
    with TemporaryDirectory() as name:
        pattern = tissue(asked.slide)
        paths = [
            repeated(Path(name) / f"{mpx:g}.tif", whole_tiles(mpx * 1e6), pattern, asked.share) for mpx in asked.mpx
        ]
        rows = [measured(path, upscaler, asked) for path in paths]
    report(rows, asked.json, model=f"{upscaler.info.name} {upscaler.info.hardware}", rounds=asked.rounds)


if __name__ == "__main__":
    main()
