"""SPAN: a fast network whose attention has no parameters of its own.

Source: Wan et al., CVPR Workshops 2024, arXiv 2311.12770: 48 channels in 6 blocks. Its re-parameterised convolutions,
three in training and one later, are left out; the enlargement is `Trunk`'s.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsisr.models.architectures.trunk import Trunk
from wsisr.models.spec import ModelSpec


class FreeAttentionBlock(nn.Module):
    """(n, c, h, w) to (n, c, h, w): three 3x3 convolutions, and a gate that is an odd function of their result."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.third = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        refined = self.third(F.silu(self.second(F.silu(self.first(x)))))
        gated: Tensor = (refined + x) * (torch.sigmoid(refined) - 0.5)
        return gated


class SPAN(Trunk):
    """A 3x3 convolution and `blocks` blocks; its features are a 1x1 convolution of those of four stages."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, body_radius=1 + 3 * spec.blocks + 1)
        self.head = nn.Conv2d(3, spec.channels, 3, padding=1)
        self.blocks = nn.ModuleList(FreeAttentionBlock(spec.channels) for _ in range(spec.blocks))
        self.last = nn.Conv2d(spec.channels, spec.channels, 3, padding=1)
        self.mix = nn.Conv2d(4 * spec.channels, spec.channels, 1)

    def body(self, x: Tensor) -> Tensor:
        stages = [self.head(x)]
        for block in self.blocks:
            stages.append(block(stages[-1]))
        mixed: Tensor = self.mix(torch.cat([stages[0], self.last(stages[-1]), stages[1], stages[-2]], dim=1))
        return mixed
