"""How the time of a run follows the area of tissue: slides of one size, more and more of them tissue.

    python -m tests.bench scaling SLIDE [--mpx 4] [--shares 0 0.25 0.5 0.75 1] [--rounds 1] [--json FILE]

Tissue is found as `wsisr upscale` finds it, and the network is the default one. A line is fitted to the seconds of
processor time by the share of area kept for the network, and to those on the clock; R^2 is what it explains of their
variance, and `half` what half the tissue takes of the time of all of it, by the line, what the rest takes left in.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from tests.bench.repeated_slides import repeated, tissue, whole_tiles
from tests.bench.result_tables import Row, report
from tests.bench.speed.efficiency import Spent, bare, whole
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Upscaler
from wsisr.slides import open_slide
from wsisr.slides.region import select_region
from wsisr.tissue import find_tissue
from wsisr.upscaling.background import BackgroundOptions
from wsisr.upscaling.plan import UpscaleOptions, plan_upscaling
from wsisr.upscaling.quality import QualityMonitor


def spent(path: Path, upscaler: Upscaler) -> tuple[float, Spent]:
    """The share of area in cells that hold tissue, and what the run took."""
    with open_slide(path) as slide:
        options = UpscaleOptions(
            background=BackgroundOptions(find_tissue(slide)), quality=QualityMonitor(upscaler.info.scale)
        )
        work = plan_upscaling(select_region(slide), upscaler, options)
        return 1 - work.background.skipped_share, whole(work, path.with_suffix(".out.ome.tif"))


def line(shares: list[float], seconds: list[float]) -> dict[str, float]:
    """R^2 of the line through them, and its value at one half over that at all."""
    slope, start = np.polyfit(shares, seconds, 1)
    residual = np.array(seconds) - (start + slope * np.array(shares))
    explained = 1 - residual.var() / np.var(seconds)
    return {"R^2": float(explained), "half": float((start + slope / 2) / (start + slope))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--mpx", type=float, default=4.0, help="of the input")
    parser.add_argument("--shares", type=float, nargs="+", default=[0, 0.25, 0.5, 0.75, 1])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    upscaler, pattern = load_upscaler(scale=2, mpp=0.5), tissue(asked.slide)
    bare(upscaler, 256)
    with TemporaryDirectory() as name:
        size = whole_tiles(asked.mpx * 1e6)
        paths = [repeated(Path(name) / f"{share}.tif", size, pattern, share) for share in asked.shares]
        found = [[spent(path, upscaler) for path in paths] for _ in range(asked.rounds)]
    shares = [share for share, _ in found[0]]
    cpu = [median(each.cpu for _, each in turns) for turns in zip(*found, strict=True)]
    wall = [median(each.wall for _, each in turns) for turns in zip(*found, strict=True)]
    rows: list[Row] = [
        {"tissue": asked, "cells kept": kept, "cpu s": seconds, "wall s": clock}
        for asked, kept, seconds, clock in zip(asked.shares, shares, cpu, wall, strict=True)
    ]
    fits = {f"cpu {name}": value for name, value in line(shares, cpu).items()}
    fits |= {f"wall {name}": value for name, value in line(shares, wall).items()}
    report(rows, asked.json, **fits, **{"input Mpx": size.pixel_count / 1e6})


if __name__ == "__main__":
    main()
