"""What --consistency does for a shipped model where its input is no plain area mean of the truth.

    python -m tests.bench back_projection SLIDE... [--scale 2] [--json FILE]

The truth is 512 px squared amid a slide's first level of at least 0.4 um/px, its input made in each of the ways below.
Gains in dB over Pillow's bicubic of the same input (RGB, 24 px border left out), mean over slides; what the correction
adds to them, mean and least of the slides: all of it, half of it, one round for three; and how far the result averaged
back is from its input, in grey levels, without and with.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from tests.support.captures import LOW_FLAWS, CaptureFlaws, add_noise, render_capture
from wsisr.dataset.degradation import SCAN
from wsisr.dataset.registration.affine import Affine
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.jpeg import recompress_jpeg
from wsisr.imaging.metrics import compute_psnr
from wsisr.imaging.pixels import Rgb, enlarge_image, round_to_uint8, shrink_image
from wsisr.models.back_projection import BACK_PROJECTION_ITERATIONS, back_project_image
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Upscaler
from wsisr.slides import Slide, open_slide
from wsisr.upscaling.consistency import count_consistency_errors

Degradation = Callable[[Rgb, int], Rgb]
"""(h*scale, w*scale, 3) and the scale to (h, w, 3)."""

SIDE_PX = 512
FINEST_MPP = 0.4

EDGE_PX = 24
"""Output px at the edges that no score counts: there a shifted input shows what the truth does not hold."""


def middle(slide: Slide) -> Rgb:
    """(512, 512, 3) of the first level that is not finer than 0.4 um/px."""
    info = slide.info
    level = next(n for n in range(len(info.levels)) if (info.level_mpp(n) or 0) >= FINEST_MPP)
    size = info.get_level(level).size
    left, top = (size.width - SIDE_PX) // 2, (size.height - SIDE_PX) // 2
    return slide.read(Box(left, top, left + SIDE_PX, top + SIDE_PX), level)


def area(truth: Rgb, scale: int) -> Rgb:
    return shrink_image(truth, scale, "area")


def blurred(truth: Rgb, scale: int) -> Rgb:
    """By optics of a standard deviation of 0.6 px of the input."""
    return area(np.asarray(cv2.GaussianBlur(truth, (0, 0), 0.6 * scale)), scale)


def shifted(by: float) -> Degradation:
    """Registered wrongly by so many px of the input along both axes."""

    def degrade(truth: Rgb, scale: int) -> Rgb:
        return seen(truth, scale, by, CaptureFlaws())

    return degrade


def captured(truth: Rgb, scale: int) -> Rgb:
    """By another objective, in focus within reason, a tenth of a px off, noisy and compressed; colours as they are."""
    return seen(truth, scale, 0.1, CaptureFlaws(LOW_FLAWS.blur_px / 2, 0, LOW_FLAWS.noise / 2, 75))


def seen(truth: Rgb, scale: int, shift: float, flaws: CaptureFlaws) -> Rgb:
    """A capture through a Gaussian footprint that lies so many px of the capture off."""
    size = Size(truth.shape[1] // scale, truth.shape[0] // scale)
    place = Affine.similarity(scale).translate(shift * scale, shift * scale)
    return render_capture(truth, place, size, flaws, np.random.default_rng(1))


def with_noise(level: float) -> Degradation:
    return lambda truth, scale: round_to_uint8(
        add_noise(area(truth, scale).astype(float), level, np.random.default_rng(1))
    )


def at_quality(quality: int) -> Degradation:
    return lambda truth, scale: recompress_jpeg(area(truth, scale), quality)


DEGRADATIONS: dict[str, Degradation] = {
    "area mean": area,
    "antialiased bicubic": lambda truth, scale: shrink_image(truth, scale, "bicubic"),
    "blur of 0.6 px": blurred,
    "JPEG 90": at_quality(90),
    "JPEG 70": at_quality(70),
    "JPEG 50": at_quality(50),
    "noise of 2": with_noise(2),
    "noise of 4": with_noise(4),
    "shift of 0.25 px": shifted(0.25),
    "as a scanner stores it": lambda truth, scale: SCAN(truth, scale, 1.0, np.random.default_rng(1))[0],
    "captured, registered": captured,
}


def scored(truth: Rgb, low: Rgb, upscaler: Upscaler) -> dict[str, float]:
    """Gains of the model, what each correction adds to them, and residuals."""
    plain = upscaler(low[None])[0]
    whole, once = back_project_image(low, plain, BACK_PROJECTION_ITERATIONS), back_project_image(low, plain, 1)
    half = round_to_uint8((plain.astype(float) + whole) / 2)
    model = quality(truth, plain)
    return {
        "model": model - quality(truth, enlarge_image(low, upscaler.info.scale, "bicubic")),
        "all": quality(truth, whole) - model,
        "half": quality(truth, half) - model,
        "one round": quality(truth, once) - model,
        "off without": off(plain, low),
        "off with": off(whole, low),
    }


def quality(truth: Rgb, image: Rgb) -> float:
    inner = slice(EDGE_PX, -EDGE_PX)
    return compute_psnr(truth[inner, inner], image[inner, inner])


def off(image: Rgb, low: Rgb) -> float:
    counts = count_consistency_errors(low, image, np.ones(low.shape[:2], bool))
    return float(np.arange(256) @ counts / counts.sum())


def row(name: str, scores: list[dict[str, float]]) -> str:
    """A line of the table."""
    means = {key: float(np.mean([each[key] for each in scores])) for key in scores[0]}
    added = [f"{means[key]:+.2f} ({min(each[key] for each in scores):+.2f})" for key in ("all", "half", "one round")]
    back = f"{means['off without']:.2f} > {means['off with']:.2f}"
    return f"| {name} | {means['model']:+.2f} | {' | '.join(added)} | {back} |\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("slides", type=Path, nargs="+")
    parser.add_argument("--scale", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    truths = []
    for path in asked.slides:
        with open_slide(path) as slide:
            truths.append(middle(slide))
    found = {}
    for scale in asked.scale:
        upscaler = load_upscaler(f"mmsrnet-x{scale}", scale=scale, device="cpu")
        sys.stdout.write(f"\n| {upscaler.info.name}: input | model, dB | all, dB | half, dB | one round, dB | off |\n")
        sys.stdout.write("|---|--:|--:|--:|--:|--:|\n")
        for name, degrade in DEGRADATIONS.items():
            scores = [scored(truth, degrade(truth, scale), upscaler) for truth in truths]
            found[f"{upscaler.info.name}, {name}"] = scores
            sys.stdout.write(row(name, scores))
            sys.stdout.flush()
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
