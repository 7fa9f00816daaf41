"""RCAN: residual groups of blocks with channel attention over the whole image. MMSRNet's authors name it as a trunk.

Source: Zhang et al., ECCV 2018, arXiv 1807.02758: 10 groups of 20 blocks, 64 channels. The enlargement is `Trunk`'s.

Its channel attention averages over the whole input, a patch in training and a tile of a slide later, so its result
depends on how a slide is cut; `tests.bench architectures` measures by how much.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsisr.models.architectures.trunk import Trunk
from wsisr.models.spec import ModelSpec

REDUCTION = 16
"""Divisor of the number of channels in which attention is computed."""


class GlobalChannelAttention(nn.Module):
    """(n, c, h, w) to (n, c, h, w): each channel is multiplied by a weight computed from the means of all channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, max(channels // REDUCTION, 1), 1)
        self.excite = nn.Conv2d(max(channels // REDUCTION, 1), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(means))))


class ResidualChannelAttentionBlock(nn.Module):
    """(n, c, h, w) to (n, c, h, w): two 3x3 convolutions and channel attention around a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.attention = GlobalChannelAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        refined: Tensor = self.attention(self.second(F.relu(self.first(x))))
        return x + refined


class ResidualGroup(nn.Module):
    """(n, c, h, w) to (n, c, h, w): blocks and a 3x3 convolution around a skip connection."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualChannelAttentionBlock(channels) for _ in range(blocks)))
        self.last = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        refined: Tensor = self.last(self.blocks(x))
        return x + refined


class RCAN(Trunk):
    """`blocks` blocks in groups, each about twice as long as their number: 200 are 10 groups of 20, 8 are 2 of 4.

    Its receptive field is that of the convolutions; the means depend on the whole input.
    """

    is_local = False

    def __init__(self, spec: ModelSpec) -> None:
        groups = count_blocks_per_group(spec.blocks)
        super().__init__(spec, body_radius=1 + 2 * spec.blocks + len(groups) + 1)
        self.head = nn.Conv2d(3, spec.channels, 3, padding=1)
        self.groups = nn.Sequential(*(ResidualGroup(spec.channels, length) for length in groups))
        self.last = nn.Conv2d(spec.channels, spec.channels, 3, padding=1)

    def body(self, x: Tensor) -> Tensor:
        shallow = self.head(x)
        deep: Tensor = shallow + self.last(self.groups(shallow))
        return deep


def count_blocks_per_group(blocks: int) -> list[int]:
    """Return the number of blocks in each group; they differ by at most one."""
    groups = max(1, round(math.sqrt(blocks / 2)))
    return [blocks * (group + 1) // groups - blocks * group // groups for group in range(groups)]
