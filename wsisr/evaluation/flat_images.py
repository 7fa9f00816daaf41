"""Synthetic images with next to no content, on which a network is most easily worse than bicubic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsisr.evaluation.inputs import EvaluationInput
from wsisr.evaluation.scores import compute_gain
from wsisr.imaging.metrics import UNSCORED_BORDER_PX, compute_psnr
from wsisr.imaging.pixels import Rgb
from wsisr.models.upscaler import Resampling, Upscaler

LOW_PX = 96
"""Side of the low-resolution images."""

PALE_PINK = (242, 228, 238)
"""Faint eosin: the colour at the end of the gradient, which begins at white."""

NOISE_SEED = 0


@dataclass(frozen=True, slots=True)
class FlatProbe:
    """The errors on one flat image of which an input was made, and that was enlarged again."""

    name: str
    source: EvaluationInput
    """How the input was made."""
    model_psnr: float
    """dB inside the unscored border; infinite if nothing differs."""
    bicubic_psnr: float
    largest_error: int
    """Largest error of the model in grey levels, including the border."""

    @property
    def gain(self) -> float:
        """dB by which the model is above bicubic."""
        return compute_gain(self.model_psnr, self.bicubic_psnr)


def measure_flat_images(upscaler: Upscaler, sources: Sequence[EvaluationInput]) -> list[FlatProbe]:
    """Score an upscaler on white, near white, a faint gradient and faint noise, each as each of the inputs.

    There is nothing to gain on flat ground, so a gain below zero is a fault of the model. The upscaler is called once,
    with tiles of 96 px.
    """
    images = make_flat_images(LOW_PX * upscaler.info.scale)
    cases = [(name, source) for name in images for source in sources]
    lows = np.stack([source.make_low(images[name], upscaler.info.scale) for name, source in cases])
    outputs, baselines = upscaler(lows), Resampling("bicubic", upscaler.info.scale)(lows)
    return [
        _measure_probe(case, images[case[0]], output, baseline)
        for case, output, baseline in zip(cases, outputs, baselines, strict=True)
    ]


def make_flat_images(side: int) -> dict[str, Rgb]:
    """Return the flat images (side, side, 3) by name; the same ones in every call."""
    ramp = np.linspace(0, 1, side)[:, None] * np.linspace(0, 1, side)
    gradient = 255 + ramp[..., None] * (np.array(PALE_PINK) - 255)
    noise = 245 + np.random.default_rng(NOISE_SEED).normal(0, 1, (side, side, 3))
    return {
        "white 255": np.full((side, side, 3), 255, np.uint8),
        "white 250": np.full((side, side, 3), 250, np.uint8),
        "gradient": gradient.round().astype(np.uint8),
        "noise": noise.round().astype(np.uint8),
    }


def _measure_probe(case: tuple[str, EvaluationInput], truth: Rgb, output: Rgb, baseline: Rgb) -> FlatProbe:
    inner = slice(UNSCORED_BORDER_PX, -UNSCORED_BORDER_PX)
    name, source = case
    return FlatProbe(
        name=name,
        source=source,
        model_psnr=compute_psnr(output[inner, inner], truth[inner, inner]),
        bicubic_psnr=compute_psnr(baseline[inner, inner], truth[inner, inner]),
        largest_error=int(np.abs(output.astype(np.int16) - truth).max()),
    )
