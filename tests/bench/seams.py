"""Seam scores of a constant, a gradient and real slides, with the overlap that is needed and with none.

`python tests/bench/seams.py SLIDE ...`; 1 is no seam.
"""

from __future__ import annotations

import sys

import numpy as np

from tests.samples import Picture
from wsisr.audit import Audit
from wsisr.geometry import Box
from wsisr.pixels import Rgb
from wsisr.runtime import load_upscaler
from wsisr.slides import open_slide
from wsisr.source import Source
from wsisr.upscaling import Options, blocks, plan

SIDE = 640
"""Input px of what is looked at: the middle of a slide."""


def measured(pixels: Rgb, overlap_px: int | None) -> str:
    upscaler, audit = load_upscaler(scale=2, mpp=0.5), Audit(2)
    work = plan(Source(Picture(pixels), 0), upscaler, Options(128, overlap_px, audit=audit))
    for _ in blocks(work, upscaler):
        pass
    return f"{audit.seams.mean:8.3f} {audit.seams.worst:8.3f}"


def pictures(paths: list[str]) -> dict[str, Rgb]:
    ramp = np.linspace(60, 220, SIDE).astype(np.uint8)
    found = {
        "constant": np.full((SIDE, SIDE, 3), 230, np.uint8),
        "gradient": np.repeat(np.add.outer(ramp // 2, ramp // 2)[..., None], 3, axis=2),
    }
    for path in paths:
        with open_slide(path, estimate=True) as slide:
            size = slide.info.size
            left, top = (size.width - SIDE) // 2, (size.height - SIDE) // 2
            found[path.rsplit("/", 1)[-1]] = slide.read(Box(left, top, left + SIDE, top + SIDE), 0)
    return found


if __name__ == "__main__":
    sys.stdout.write(f"{'mean':>8} {'worst':>8} {'mean':>8} {'worst':>8}  (overlap; none)\n")
    for name, image in pictures(sys.argv[1:]).items():
        sys.stdout.write(f"{measured(image, None)} {measured(image, 0)}  {name}\n")
