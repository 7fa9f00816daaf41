"""What training minimises: plain functions of tensors, each a mean over the batch.

Pixels are float (n, 3, h, w), sRGB in [0, 1] but for what goes beyond black and white.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wsisr.imaging.metrics import SSIM_REACH

UNKNOWN = -1
"""Label of a sample whose magnification is none of the classes."""

SOFTNESS = 1e-3
"""Difference below which Charbonnier's loss is square rather than straight: a quarter of a grey level."""

_C1, _C2 = 0.01**2, 0.03**2


def l1(enlarged: Tensor, high: Tensor) -> Tensor:
    """Mean absolute difference."""
    return (enlarged - high).abs().mean()


def charbonnier(enlarged: Tensor, high: Tensor) -> Tensor:
    """L1 with a rounded tip."""
    return ((enlarged - high).square() + SOFTNESS**2).sqrt().mean()


def ssim(enlarged: Tensor, high: Tensor) -> Tensor:
    """1 minus the structural similarity, as `wsisr.imaging.metrics.ssim` has it. Sides are at least 11 px."""
    x, y = enlarged - 0.5, high - 0.5  # variances of small numbers round less
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x, var_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    cov = _blurred(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    light = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return 1 - (light * (2 * cov + _C2) / (var_x + var_y + _C2)).mean()


def fourier(enlarged: Tensor, high: Tensor) -> Tensor:
    """Mean absolute difference of the two-dimensional Fourier transforms, which are orthonormal."""
    difference: Tensor = torch.fft.rfft2(enlarged - high, norm="ortho")
    return difference.abs().mean()


def consistency(enlarged: Tensor, low: Tensor) -> Tensor:
    """Mean absolute difference between the output, averaged back, and the input (n, 3, h/scale, w/scale).

    Exact where the input was made by area mean, a bound on invention elsewhere.
    """
    return (F.avg_pool2d(enlarged, high_over_low(enlarged, low)) - low).abs().mean()


def perceptual(seen: Tensor, due: Tensor) -> Tensor:
    """Mean absolute difference of the features of two images, over the mean magnitude of the truth's."""
    return (seen - due).abs().mean() / due.abs().mean().clamp_min(1e-6)


def adversarial(real: Tensor, fake: Tensor) -> Tensor:
    """Cost of an output that the discriminator, whose logits these are, finds less real than the truth of its place.

    Source: the relativistic pairing of Jolicoeur-Martineau, ICLR 2019, arXiv 1807.00734, pixel by pixel.
    """
    return F.softplus(real - fake).mean()


def discriminating(real: Tensor, fake: Tensor) -> Tensor:
    """What it costs a discriminator to find the output truer than the truth of the same place."""
    return F.softplus(fake - real).mean()


def classification(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy over the samples whose label is known; 0 where none is."""
    known = int((labels != UNKNOWN).sum())
    return F.cross_entropy(logits, labels, ignore_index=UNKNOWN, reduction="sum") / max(known, 1)


def high_over_low(enlarged: Tensor, low: Tensor) -> int:
    """The scale."""
    return int(enlarged.shape[-1] // low.shape[-1])


def _blurred(x: Tensor) -> Tensor:
    """(n, 3, h, w) to (n, 3, h-10, w-10): the mean under a Gaussian window of 11 px with sigma 1.5."""
    places = torch.arange(-SSIM_REACH, SSIM_REACH + 1, device=x.device, dtype=x.dtype)
    taps = torch.exp(-0.5 * (places / 1.5) ** 2)
    taps = (taps / taps.sum()).expand(3, 1, 1, -1)
    return F.conv2d(F.conv2d(x, taps, groups=3), taps.transpose(2, 3), groups=3)
