"""What a shipped model gains over bicubic on input that was stored as JPEG, as scanners store it.

    python -m tests.bench.compressed SLIDE... [--scale 2]

The truth is the middle of a slide's finest level of at least 0.4 um/px, its area mean the input, compressed by Pillow
at 4:2:0. Gains in dB over Pillow's bicubic of the same input (RGB, 8 px border left out), mean and least of the slides.
"""

from __future__ import annotations

import argparse
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from wsisr.geometry import Box
from wsisr.metrics import psnr
from wsisr.pixels import Rgb, enlarge, shrink
from wsisr.runtime import load_upscaler
from wsisr.slides import Slide, open_slide
from wsisr.upscaler import Upscaler

SIDE_PX, BORDER_PX = 768, 8
QUALITIES = (None, 90, 70, 50, 30)
FINEST_MPP = 0.4


def middle(slide: Slide) -> Rgb:
    """(768, 768, 3) of the first level that is not finer than 0.4 um/px."""
    info = slide.info
    level = next(n for n in range(len(info.levels)) if (info.level_mpp(n) or 0) >= FINEST_MPP)
    size = info.level(level).size
    left, top = (size.width - SIDE_PX) // 2, (size.height - SIDE_PX) // 2
    return slide.read(Box(left, top, left + SIDE_PX, top + SIDE_PX), level)


def stored(pixels: Rgb, quality: int | None) -> Rgb:
    """The same pixels after a JPEG of that quality; None leaves them."""
    if quality is None:
        return pixels
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file))


def gain(truth: Rgb, upscaler: Upscaler, quality: int | None) -> float:
    """dB over Pillow's bicubic."""
    low = stored(shrink(truth, upscaler.scale, "area"), quality)
    inner = slice(BORDER_PX, -BORDER_PX)
    model, plain = upscaler(low[None])[0], enlarge(low, upscaler.scale, "bicubic")
    return psnr(truth[inner, inner], model[inner, inner]) - psnr(truth[inner, inner], plain[inner, inner])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("slides", type=Path, nargs="+")
    parser.add_argument("--scale", type=int, default=2)
    asked = parser.parse_args()
    truths = []
    for path in asked.slides:
        with open_slide(path) as slide:
            truths.append(middle(slide))
    upscaler = load_upscaler(f"masrgan-x{asked.scale}", scale=asked.scale, device="cpu")
    sys.stdout.write("| JPEG quality | mean gain, dB | least |\n|---|--:|--:|\n")
    for quality in QUALITIES:
        gains = [gain(truth, upscaler, quality) for truth in truths]
        sys.stdout.write(f"| {quality or 'none'} | {np.mean(gains):+.2f} | {min(gains):+.2f} |\n")


if __name__ == "__main__":
    main()
