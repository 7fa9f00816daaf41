"""Losses: plain functions of tensors, each a mean over the batch.

Pixels are float (n, 3, h, w), sRGB in [0, 1]; outputs may go beyond that range.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wsisr.imaging.metrics import SSIM_RADIUS_PX

UNKNOWN_LABEL = -1
"""Label of a sample whose magnification is not one of the classes."""

CHARBONNIER_EPSILON = 1e-3
"""Difference below which the Charbonnier loss is quadratic rather than linear: a quarter of a grey level."""

_C1, _C2 = 0.01**2, 0.03**2


def l1_loss(enlarged: Tensor, high: Tensor) -> Tensor:
    """Mean absolute difference."""
    return (enlarged - high).abs().mean()


def charbonnier_loss(enlarged: Tensor, high: Tensor) -> Tensor:
    """L1 that is smooth at 0: the mean of sqrt(difference^2 + epsilon^2)."""
    return ((enlarged - high).square() + CHARBONNIER_EPSILON**2).sqrt().mean()


def ssim_loss(enlarged: Tensor, high: Tensor) -> Tensor:
    """1 minus the structural similarity as in `wsisr.imaging.metrics.ssim`. Sides of at least 11 px."""
    x, y = enlarged - 0.5, high - 0.5  # centred, because variances of small numbers lose less to rounding
    mean_x, mean_y = _blur_gaussian(x), _blur_gaussian(y)
    var_x, var_y = _blur_gaussian(x * x) - mean_x**2, _blur_gaussian(y * y) - mean_y**2
    cov = _blur_gaussian(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    light = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return 1 - (light * (2 * cov + _C2) / (var_x + var_y + _C2)).mean()


def fourier_loss(enlarged: Tensor, high: Tensor) -> Tensor:
    """Mean absolute difference of the orthonormal two-dimensional Fourier transforms."""
    difference: Tensor = torch.fft.rfft2(enlarged - high, norm="ortho")
    return difference.abs().mean()


def consistency_loss(enlarged: Tensor, low: Tensor) -> Tensor:
    """Consistency error: mean absolute difference between the output, averaged back, and the input `low`.

    0 is attainable if the input was made by area mean; otherwise it bounds invented detail.
    """
    return (F.avg_pool2d(enlarged, infer_scale(enlarged, low)) - low).abs().mean()


def perceptual_loss(features: Tensor, true_features: Tensor) -> Tensor:
    """Mean absolute difference of the features of two images, relative to the mean magnitude of the truth's."""
    return (features - true_features).abs().mean() / true_features.abs().mean().clamp_min(1e-6)


def adversarial_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Loss of the network: how much less real the discriminator finds the output than the truth, by its logits.

    Source: the relativistic pairing of Jolicoeur-Martineau, ICLR 2019, arXiv 1807.00734, pixel by pixel.
    """
    return F.softplus(real - fake).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Loss of the discriminator: how much more real it finds the output than the truth at the same pixel."""
    return F.softplus(fake - real).mean()


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy over the samples whose label is known; 0 if none is."""
    known_count = (labels != UNKNOWN_LABEL).sum().clamp_min(1)  # a tensor: reading its number would stop a GPU's queue
    return F.cross_entropy(logits, labels, ignore_index=UNKNOWN_LABEL, reduction="sum") / known_count


def infer_scale(enlarged: Tensor, low: Tensor) -> int:
    """Return the enlargement along one axis."""
    return int(enlarged.shape[-1] // low.shape[-1])


def _blur_gaussian(x: Tensor) -> Tensor:
    """(n, 3, h, w) to (n, 3, h-10, w-10): weighted mean under a Gaussian window of 11 px with sigma 1.5."""
    offsets = torch.arange(-SSIM_RADIUS_PX, SSIM_RADIUS_PX + 1, device=x.device, dtype=x.dtype)
    taps = torch.exp(-0.5 * (offsets / 1.5) ** 2)
    taps = (taps / taps.sum()).expand(3, 1, 1, -1)
    return F.conv2d(F.conv2d(x, taps, groups=3), taps.transpose(2, 3), groups=3)
