"""EDSR as a baseline.

Source: Lim et al., CVPR Workshops 2017, arXiv 1707.02921: 64 channels in 16 blocks are its baseline, 256 in 32 with a
residual scale of 0.1 its full size. The enlargement is `Trunk`'s.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from wsisr.models.architectures.trunk import Trunk
from wsisr.models.spec import ModelSpec

WIDE_CHANNELS = 256
"""Number of channels from which residuals are scaled down; training is unstable otherwise."""


class EDSRBlock(nn.Module):
    """(n, c, h, w) to (n, c, h, w): two 3x3 convolutions with a ReLU between them, around a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.residual_scale = 0.1 if channels >= WIDE_CHANNELS else 1.0

    def forward(self, x: Tensor) -> Tensor:
        refined: Tensor = self.second(F.relu(self.first(x)))
        return x + self.residual_scale * refined


class EDSR(Trunk):
    """A 3x3 convolution, `blocks` residual blocks and a 3x3 convolution, around which there is a skip connection."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, body_radius=1 + 2 * spec.blocks + 1)
        self.head = nn.Conv2d(3, spec.channels, 3, padding=1)
        self.blocks = nn.Sequential(*(EDSRBlock(spec.channels) for _ in range(spec.blocks)))
        self.last = nn.Conv2d(spec.channels, spec.channels, 3, padding=1)

    def body(self, x: Tensor) -> Tensor:
        shallow = self.head(x)
        deep: Tensor = shallow + self.last(self.blocks(shallow))
        return deep
