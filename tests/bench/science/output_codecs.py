"""What storing the result as JPEG takes from it, and how many bytes that saves.

    python -m tests.bench output_codecs SLIDE... [--scale 2] [--model NAME]

The truth is 512 px squared amid a slide's first level of at least 0.4 um/px, its area mean the input. Gains in dB over
Pillow's bicubic without loss (RGB, 24 px border left out), mean and least of the slides; bytes beside those of the
default, JPEG of quality 90 at 4:4:4.
"""

from __future__ import annotations

import argparse
import sys
from io import BytesIO
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from tests.bench.science.back_projection import middle
from tests.bench.science.back_projection import quality as score
from wsisr.imaging.pixels import Rgb, enlarge_image, shrink_image
from wsisr.models.loading import load_upscaler
from wsisr.slides import open_slide

QUALITIES, SUBSAMPLINGS = (80, 90, 95), ("4:2:0", "4:4:4")


def jpeg(image: Rgb, quality: int, subsampling: str) -> tuple[Rgb, int]:
    """What is read again, and the bytes it took."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file)), file.tell()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("slides", type=Path, nargs="+")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--model")
    asked = parser.parse_args()
    upscaler = load_upscaler(asked.model, scale=asked.scale, device="cpu")
    gains: dict[str, list[float]] = {}
    taken: dict[str, int] = {}
    for path in asked.slides:
        with open_slide(path) as slide:
            truth = middle(slide)
        low = shrink_image(truth, asked.scale, "area")
        result, plain = upscaler(low[None].copy())[0], score(truth, enlarge_image(low, asked.scale, "bicubic"))
        gains.setdefault("without loss", []).append(score(truth, result) - plain)
        for quality, subsampling in product(QUALITIES, SUBSAMPLINGS):
            name = f"JPEG {quality}, {subsampling}"
            stored, count = jpeg(result, quality, subsampling)
            gains.setdefault(name, []).append(score(truth, stored) - plain)
            taken[name] = taken.get(name, 0) + count
    sys.stdout.write("| stored | mean gain, dB | least | bytes |\n|---|--:|--:|--:|\n")
    for name, each in gains.items():
        size = f"{taken[name] / taken['JPEG 90, 4:4:4']:.2f}" if name in taken else ""
        sys.stdout.write(f"| {name} | {np.mean(each):+.2f} | {min(each):+.2f} | {size} |\n")


if __name__ == "__main__":
    main()
