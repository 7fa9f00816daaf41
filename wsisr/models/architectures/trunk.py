"""The common part of all networks: features become a residual that is added to Pillow's bicubic enlargement.

That is this project's choice for the baselines, too, so that a comparison compares the bodies: the published networks
enlarge by layers of their own, and compute their last layers at high resolution.

The residual is multiplied by a gate that is zero where the input around a pixel has next to no contrast: on flat glass
the output is Pillow's bicubic.
"""

from __future__ import annotations

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsisr.models.architectures.bicubic import PillowBicubic, disable_autocast
from wsisr.models.spec import ModelSpec

GATE_RADIUS = 2
"""Input pixels on each side from which the gate computes the contrast."""

GATE_SHUT, GATE_OPEN = 8 / 255, 32 / 255
"""Contrast (maximum minus minimum of any colour) up to which the residual is dropped, and from which it counts in full.

Noise with a standard deviation of one spans some four grey levels after averaging 2x2; on a validation slide, opening
later than at 12 cost no gain.
"""

NOISE_POWER = 4.0
"""Sum of the mean squared differences to the right and to the lower neighbour that noise makes, in grey levels squared:
four times the variance of noise that is independent from pixel to pixel, here with a standard deviation of one."""


class Trunk(nn.Module):
    """(n, 3, h, w) sRGB in [0, 1] to (n, 3, h*scale, w*scale), not clipped. Subclasses define `body`."""

    is_local = True
    """Whether a pixel depends on nothing beyond `receptive_field`, so that results are independent of the tiling."""

    def __init__(self, spec: ModelSpec, body_radius: int, cell_px: int = 1) -> None:
        """`body_radius`: input pixels around a pixel that its features depend on; `cell_px`: side of the square of
        input pixels that one cell of the features stands for."""
        super().__init__()
        self.scale, self.channels, self.cell_px = spec.scale, spec.channels, cell_px
        self.receptive_field = body_radius + 2 * cell_px - 1  # the tail's radius, and the other pixels of a cell
        """Input pixels around a pixel that its output depends on."""
        self.tail = nn.Conv2d(spec.channels, 3 * (spec.scale * cell_px) ** 2, 3, padding=1)
        self.plain = PillowBicubic(spec.scale)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)  # training starts at bicubic

    def body(self, x: Tensor) -> Tensor:
        """Map (n, 3, h, w), centred on 0, to features (n, channels, h, w)."""
        raise NotImplementedError

    def extract_features(self, x: Tensor) -> Tensor:
        """Map (n, 3, h, w) sRGB in [0, 1] to features (n, channels, h, w), or of as many cells as cover the input."""
        return self.body((x - 0.5).to(self.tail.weight.dtype))

    def enlarge_features(self, x: Tensor, features: Tensor) -> Tensor:
        """Enlarge (n, 3, h, w) sRGB in [0, 1], given its features, to (n, 3, h*scale, w*scale)."""
        deep = self.tail(features)
        with disable_autocast(x):
            x = x.float()
            if self.cell_px > 1:
                height, width = x.shape[2:]
                deep = F.pixel_shuffle(deep, self.cell_px)[..., :height, :width]
            phases = self.plain(x) + self.compute_gate(x) * deep.float()
        return F.pixel_shuffle(phases, self.scale)

    def compute_gate(self, x: Tensor) -> Tensor:
        """Map (n, 3, h, w) sRGB in [0, 1] to the factor of the residual, (n, 1, h, w) in [0, 1]."""
        return compute_contrast_gate(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.enlarge_features(x, self.extract_features(x))


def compute_detail_gate(x: Tensor) -> Tensor:
    """Map (n, 3, h, w) sRGB in [0, 1] to (n, 1, h, w) in [0, 1]: the share of detail around a pixel that is no noise.

    That share is Wiener's factor, 1 - noise / power, of the power of differences between neighbours, weighted over
    5x5 px by distance. It has no square edges and rises soon: tissue faded to a tenth of its contrast keeps more than
    half, where a gate that opens from 8 to 32 grey levels cuts it into pieces. Sums are of whole grey levels and stay
    below 2^24, so they are exact, and tiles do not show.
    """
    levels = (x * 255).round()
    right = F.pad(levels[..., 1:] - levels[..., :-1], (0, 1)).square()
    down = F.pad(levels[..., 1:, :] - levels[..., :-1, :], (0, 0, 0, 1)).square()
    power = (right + down).amax(dim=1, keepdim=True)
    for _ in range(GATE_RADIUS):
        power = _sum_three(_sum_three(power, 3), 2)
    noise = NOISE_POWER * 3 ** (2 * GATE_RADIUS)
    gate: Tensor = 1 - noise / power.clamp(min=noise)
    return gate


def _sum_three(x: Tensor, axis: int) -> Tensor:
    """Return the sum of each value and its two neighbours along an axis; beyond the edge there is 0."""
    padded = F.pad(x, (1, 1) if axis == 3 else (0, 0, 1, 1))
    length = x.shape[axis]
    return padded.narrow(axis, 0, length) + padded.narrow(axis, 1, length) + padded.narrow(axis, 2, length)


def compute_contrast_gate(x: Tensor) -> Tensor:
    """Map (n, 3, h, w) to (n, 1, h, w) in [0, 1]: 0 where the neighbourhood is flat, 1 where it has contrast."""
    contrast = (_local_maximum(x) + _local_maximum(-x)).amax(dim=1, keepdim=True)
    return ((contrast - GATE_SHUT) / (GATE_OPEN - GATE_SHUT)).clamp(0, 1)


def _local_maximum(x: Tensor) -> Tensor:
    """Return the maximum over the gate's window around each pixel, (n, c, h, w).

    Computed from shifted copies, rows and columns apart: on a CPU that takes a tenth of the time of max pooling, which
    was a tenth of the network's.
    """
    padded = F.pad(x, (GATE_RADIUS,) * 4, value=float("-inf"))
    return _maximum_along(_maximum_along(padded, 3), 2)


def _maximum_along(x: Tensor, axis: int) -> Tensor:
    """Return the maximum over the gate's window along one axis, which gets shorter by twice the radius."""
    length = x.shape[axis] - 2 * GATE_RADIUS
    return reduce(torch.maximum, (x.narrow(axis, first, length) for first in range(2 * GATE_RADIUS + 1)))
