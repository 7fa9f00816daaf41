"""What the tissue map keeps and what it loses: `python -m tests.bench tissue SLIDE... [--json FILE]`.

The reference is a careful look at level 0: a cell of 64 px has texture if, in a twentieth of its pixels, the Sobel
gradient of the slightly smoothed brightness exceeds what noise and JPEG leave on glass. Lost: cells that have texture
and lie outside the map.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from wsisr.imaging.geometry import Box, Size
from wsisr.slides import Slide, open_slide
from wsisr.tissue import find_tissue
from wsisr.tissue.map import BoolMask

CELL_PX = 64
GRADIENT = 6.0
"""Grey levels per px, after a Gaussian blur with a sigma of 1.5 px."""

SHARE = 0.05
"""Of a cell's pixels that must exceed it: one speck of dust is no tissue."""


def textured(slide: Slide) -> BoolMask:
    """One flag for each cell of level 0 that lies wholly inside."""
    size = slide.info.size
    rows = range(0, size.height - CELL_PX + 1, CELL_PX)
    return np.stack([_row(slide.read(Box(0, top, size.width, top + CELL_PX), 0)) for top in rows])


def _row(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> BoolMask:
    grey = cv2.GaussianBlur(pixels.min(axis=2).astype(np.float32), (0, 0), 1.5)
    steep = np.hypot(cv2.Sobel(grey, -1, 1, 0, scale=1 / 8), cv2.Sobel(grey, -1, 0, 1, scale=1 / 8)) > GRADIENT
    whole = steep[:, : steep.shape[1] // CELL_PX * CELL_PX]
    flags: BoolMask = whole.reshape(CELL_PX, -1, CELL_PX).mean(axis=(0, 2)) > SHARE
    return flags


def measure(path: Path) -> dict[str, Any]:
    with open_slide(path) as slide:
        found, texture, size = find_tissue(slide), textured(slide), slide.info.size
        inside = Size(texture.shape[1] * CELL_PX, texture.shape[0] * CELL_PX)
        kept = found.mask_cells(size, Box.from_size(inside), CELL_PX)
    lost = int(np.count_nonzero(texture & ~kept))
    return {
        "slide": path.name,
        "kept": found.area_fraction,
        "textured": int(texture.sum()),
        "lost": lost,
        "how": found.origin,
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("slides", nargs="+", type=Path)
    options.add_argument("--json", type=Path)
    told = options.parse_args()
    rows = [measure(path) for path in told.slides]
    for row in rows:
        line = "{slide:46.46} kept {kept:6.1%}  textured cells {textured:5}  lost {lost:3}  {how}".format(**row)
        print(line)  # noqa: T201
    if told.json:
        told.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
