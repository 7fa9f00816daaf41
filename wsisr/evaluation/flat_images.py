"""Made-up images with next to nothing in them, where a network is most easily worse than no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsisr.evaluation.scores import compute_gain
from wsisr.imaging.metrics import UNSCORED_BORDER_PX, compute_psnr
from wsisr.imaging.pixels import FilterName, Rgb, shrink_image
from wsisr.models.upscaler import Resampling, Upscaler

LOW_PX = 96
"""Side of an image at the low resolution."""

PALE_PINK = (242, 228, 238)
"""Faint eosin: what a gradient fades to from glass."""

NOISE_SEED = 0


@dataclass(frozen=True, slots=True)
class FlatProbe:
    """One flat image, shrunk with one kernel and enlarged again."""

    name: str
    kernel: FilterName
    """What the input was made with."""
    model_psnr: float
    """dB inside the border; infinite where nothing differs."""
    bicubic_psnr: float
    largest_error: int
    """Grey levels by which the model is off where it is off most, the border included."""

    @property
    def gain(self) -> float:
        """dB of the model above bicubic."""
        return compute_gain(self.model_psnr, self.bicubic_psnr)


def measure_flat_images(upscaler: Upscaler, kernels: Sequence[FilterName]) -> list[FlatProbe]:
    """White, near white, a faint gradient and faint noise, each shrunk with each kernel. Takes one call of 96 px tiles.

    On flat ground nothing can be won, so a gain below zero is a fault of the model.
    """
    images = make_flat_images(LOW_PX * upscaler.info.scale)
    cases = [(name, kernel) for name in images for kernel in kernels]
    lows = np.stack([shrink_image(images[name], upscaler.info.scale, kernel) for name, kernel in cases])
    outputs, baselines = upscaler(lows), Resampling("bicubic", upscaler.info.scale)(lows)
    return [
        _measure_probe(case, images[case[0]], output, baseline)
        for case, output, baseline in zip(cases, outputs, baselines, strict=True)
    ]


def make_flat_images(side: int) -> dict[str, Rgb]:
    """Name to (side, side, 3), the same each time."""
    ramp = np.linspace(0, 1, side)[:, None] * np.linspace(0, 1, side)
    gradient = 255 + ramp[..., None] * (np.array(PALE_PINK) - 255)
    noise = 245 + np.random.default_rng(NOISE_SEED).normal(0, 1, (side, side, 3))
    return {
        "white 255": np.full((side, side, 3), 255, np.uint8),
        "white 250": np.full((side, side, 3), 250, np.uint8),
        "gradient": gradient.round().astype(np.uint8),
        "noise": noise.round().astype(np.uint8),
    }


def _measure_probe(case: tuple[str, FilterName], truth: Rgb, output: Rgb, baseline: Rgb) -> FlatProbe:
    inner = slice(UNSCORED_BORDER_PX, -UNSCORED_BORDER_PX)
    name, kernel = case
    return FlatProbe(
        name=name,
        kernel=kernel,
        model_psnr=compute_psnr(output[inner, inner], truth[inner, inner]),
        bicubic_psnr=compute_psnr(baseline[inner, inner], truth[inner, inner]),
        largest_error=int(np.abs(output.astype(np.int16) - truth).max()),
    )
