"""Seam scores of a constant, a gradient and real slides, with the overlap that is needed and with none.

    python -m tests.bench seams SLIDE... [--side 384] [--json FILE]

1 is no seam; tiles are of 128 px.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from tests.bench.result_tables import Row, report
from tests.support.samples import InMemorySlide
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb, round_to_uint8
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Upscaler
from wsisr.slides import open_slide
from wsisr.slides.region import SlideRegion
from wsisr.upscaling.engine import enlarge_blocks
from wsisr.upscaling.plan import UpscaleOptions, plan_upscaling
from wsisr.upscaling.quality import QualityMonitor

TILE_PX = 128


def measured(pixels: Rgb, upscaler: Upscaler, overlap_px: int | None) -> tuple[float, float]:
    """Mean and worst score."""
    audit = QualityMonitor(upscaler.info.scale)
    work = plan_upscaling(
        SlideRegion(InMemorySlide(pixels), 0), upscaler, UpscaleOptions(TILE_PX, overlap_px, quality=audit)
    )
    for _ in enlarge_blocks(work):
        pass
    return audit.seams.mean, audit.seams.worst


def pictures(paths: list[Path], side: int) -> dict[str, Rgb]:
    """Of so many px squared; of a slide its middle."""
    ramp = np.linspace(60, 220, side)
    found = {
        "constant": np.full((side, side, 3), 230, np.uint8),
        "gradient": np.repeat(round_to_uint8(np.add.outer(ramp, ramp) / 2)[..., None], 3, axis=2),
    }
    for path in paths:
        with open_slide(path, estimate=True) as slide:
            size = slide.info.size
            left, top = (size.width - side) // 2, (size.height - side) // 2
            found[path.name] = slide.read(Box(left, top, left + side, top + side), 0)
    return found


def row(name: str, pixels: Rgb, upscaler: Upscaler) -> Row:
    mean, worst = measured(pixels, upscaler, None)
    mean_without, worst_without = measured(pixels, upscaler, 0)
    return {
        "picture": name,
        "mean": mean,
        "worst": worst,
        "mean without overlap": mean_without,
        "worst without overlap": worst_without,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slides", type=Path, nargs="+")
    parser.add_argument("--side", type=int, default=384, help="px of the input that are looked at")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    upscaler = load_upscaler(scale=2, mpp=0.5)
    rows = [row(name, pixels, upscaler) for name, pixels in pictures(asked.slides, asked.side).items()]
    report(rows, asked.json)


if __name__ == "__main__":
    main()
