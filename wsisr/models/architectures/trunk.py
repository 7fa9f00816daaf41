"""What every network here shares: its features become a residual on Pillow's bicubic, where the input has contrast.

That is this project's choice, made in the baselines too, so that a comparison of them compares their bodies: the
published ones enlarge by layers of their own, and compute their last ones at high resolution.

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
"""Input px on each side in which the gate looks for contrast."""

GATE_SHUT, GATE_OPEN = 8 / 255, 32 / 255
"""Contrast (maximum minus minimum of any colour) up to which the residual is dropped, and from which it counts in full.

Noise with a standard deviation of one spans some four grey levels after averaging 2x2; on a validation slide, opening
later than at 12 cost no gain.
"""


class Trunk(nn.Module):
    """(n, 3, h, w) sRGB in [0, 1] to (n, 3, h*scale, w*scale), not clipped. A network of this kind gives its `body`."""

    local = True
    """Whether a pixel depends on nothing beyond `context`, so that the tiling does not show."""

    def __init__(self, spec: ModelSpec, body_radius: int) -> None:
        """`reach`: input px around a pixel on which its features depend."""
        super().__init__()
        self.scale, self.channels = spec.scale, spec.channels
        self.context = body_radius + 1
        """Input px around a pixel on which its output depends."""
        self.tail = nn.Conv2d(spec.channels, 3 * spec.scale**2, 3, padding=1)
        self.plain = PillowBicubic(spec.scale)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)  # training starts at bicubic

    def body(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) around 0 to (n, channels, h, w)."""
        raise NotImplementedError

    def extract_features(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) sRGB in [0, 1] to (n, channels, h, w)."""
        return self.body((x - 0.5).to(self.tail.weight.dtype))

    def enlarge_features(self, x: Tensor, features: Tensor) -> Tensor:
        """(n, 3, h, w) sRGB in [0, 1] and its features to (n, 3, h*scale, w*scale)."""
        deep = self.tail(features)
        with disable_autocast(x):
            x = x.float()
            phases = self.plain(x) + compute_contrast_gate(x) * deep.float()
        return F.pixel_shuffle(phases, self.scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.enlarge_features(x, self.extract_features(x))


def compute_contrast_gate(x: Tensor) -> Tensor:
    """(n, 3, h, w) to (n, 1, h, w) in [0, 1]: 0 where the neighbourhood is flat, 1 where it has contrast."""
    contrast = (_local_maximum(x) + _local_maximum(-x)).amax(dim=1, keepdim=True)
    return ((contrast - GATE_SHUT) / (GATE_OPEN - GATE_SHUT)).clamp(0, 1)


def _local_maximum(x: Tensor) -> Tensor:
    """(n, c, h, w) to (n, c, h, w): the maximum over the gate's window, rows and columns apart.

    Of shifted copies: on a CPU that takes a tenth of the time of max pooling, which was a tenth of the network's.
    """
    padded = F.pad(x, (GATE_RADIUS,) * 4, value=float("-inf"))
    return _maximum_along(_maximum_along(padded, 3), 2)


def _maximum_along(x: Tensor, axis: int) -> Tensor:
    """The maximum over a window along one axis, which gets shorter by what lies beyond its first and last place."""
    places = x.shape[axis] - 2 * GATE_RADIUS
    return reduce(torch.maximum, (x.narrow(axis, first, places) for first in range(2 * GATE_RADIUS + 1)))
