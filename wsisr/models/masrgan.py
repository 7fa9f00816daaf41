"""MASRGAN's generator: mix-attention blocks, in which channel and spatial attention act in parallel.

Source: Chen, Wang, Jia, Ye, "MASRGAN", IJMLC 2023, doi 10.1007/s13042-023-01806-9. Its abstract tells of the parallel
attention and of nothing else; every size, the local window, the gate on flat input and the arrangement of the layers
are this project's own choices.

Two choices keep the result independent of how a slide is cut into tiles and keep flat glass flat:

- Channel attention averages over a window around each pixel, not over the whole tile.
- The network adds a residual to the bicubic enlargement, and the residual is multiplied by a gate that is zero where
  the input around a pixel has next to no contrast: on flat glass the output is Pillow's bicubic.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsisr.models.bicubic import PillowBicubic, full_precision
from wsisr.modelspec import ModelSpec

GATE_RADIUS = 2
"""Input px on each side in which the gate looks for contrast."""

GATE_SHUT, GATE_OPEN = 8 / 255, 32 / 255
"""Contrast (maximum minus minimum of any colour) up to which the residual is dropped, and from which it counts in full.

Noise with a standard deviation of one spans some four grey levels after averaging 2x2; on a validation slide, opening
later than at 12 cost no gain.
"""


class MixAttention(nn.Module):
    """(n, c, h, w) to (n, c, h, w): the input gated by local channel and by spatial attention, both from the input.

    A weighted mean over a window and a 1x1 convolution commute, so the squeeze to c/4 channels comes first and the
    window costs a quarter. The mean is a depthwise convolution that starts as a plain mean and learns its weights:
    on a CPU it is also twenty times faster than average pooling with stride 1.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        squeezed = max(channels // 4, 8)
        self.squeeze = nn.Conv2d(channels, 2 * squeezed, 1)
        self.gather = nn.Conv2d(squeezed, squeezed, window, padding=window // 2, groups=squeezed)
        nn.init.constant_(self.gather.weight, 1 / window**2)
        self.excite = nn.Conv2d(squeezed, channels, 1)
        self.locate = nn.Conv2d(squeezed, 1, 1)
        self.fuse = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        context, place = self.squeeze(x).chunk(2, dim=1)
        channel = torch.sigmoid(self.excite(F.relu(self.gather(context))))
        spatial = torch.sigmoid(self.locate(F.relu(place)))
        fused: Tensor = self.fuse(torch.cat([x * channel, x * spatial], dim=1))
        return fused


class MixAttentionBlock(nn.Module):
    """(n, c, h, w) to (n, c, h, w): two 3x3 convolutions and mix attention around a skip connection."""

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.attention = MixAttention(channels, window)

    def forward(self, x: Tensor) -> Tensor:
        refined: Tensor = self.attention(self.second(F.relu(self.first(x))))
        return x + refined


class MASRGAN(nn.Module):
    """(n, 3, h, w) sRGB in [0, 1] to (n, 3, h*scale, w*scale), not clipped."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.scale = spec.scale
        self.context = 2 + spec.blocks * (2 + spec.window // 2)
        self.head = nn.Conv2d(3, spec.channels, 3, padding=1)
        self.blocks = nn.Sequential(*(MixAttentionBlock(spec.channels, spec.window) for _ in range(spec.blocks)))
        self.tail = nn.Conv2d(spec.channels, 3 * spec.scale**2, 3, padding=1)
        self.plain = PillowBicubic(spec.scale)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)  # training starts at bicubic

    def forward(self, x: Tensor) -> Tensor:
        shallow = self.head((x - 0.5).to(self.head.weight.dtype))
        deep = self.tail(shallow + self.blocks(shallow))
        with full_precision(x):
            x = x.float()
            enlarged = self.plain(x) + contrast_gate(x) * deep.float()
        return F.pixel_shuffle(enlarged, self.scale)


def contrast_gate(x: Tensor) -> Tensor:
    """(n, 3, h, w) to (n, 1, h, w) in [0, 1]: 0 where the neighbourhood is flat, 1 where it has contrast."""
    contrast = (_highest(x) + _highest(-x)).amax(dim=1, keepdim=True)
    return ((contrast - GATE_SHUT) / (GATE_OPEN - GATE_SHUT)).clamp(0, 1)


def _highest(x: Tensor) -> Tensor:
    """(n, c, h, w) to (n, c, h, w): the maximum over the gate's window, rows and columns apart, which is faster."""
    side = 2 * GATE_RADIUS + 1
    rows = F.max_pool2d(x, (1, side), stride=1, padding=(0, GATE_RADIUS))
    return F.max_pool2d(rows, (side, 1), stride=1, padding=(GATE_RADIUS, 0))
