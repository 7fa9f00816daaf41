"""MASRGAN's generator: mix-attention blocks, in which channel and spatial attention act in parallel.

Source: Chen, Wang, Jia, Ye, "MASRGAN", IJMLC 2023, doi 10.1007/s13042-023-01806-9. Its abstract describes the parallel
attention and nothing else; every size, the local window, the gate on flat input and the arrangement of the layers are
this project's own choices.

The same blocks with other kinds of attention, or none, are the baselines for the parallel one.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from wsisr.models.architectures.attention import WINDOWLESS_ATTENTION, AttentionFactory, MixAttention
from wsisr.models.architectures.trunk import Trunk
from wsisr.models.spec import ModelSpec


class AttentionBlock(nn.Module):
    """(n, c, h, w) to (n, c, h, w): two 3x3 convolutions and attention around a skip connection."""

    def __init__(self, spec: ModelSpec, attention: AttentionFactory) -> None:
        super().__init__()
        self.first = nn.Conv2d(spec.channels, spec.channels, 3, padding=1)
        self.second = nn.Conv2d(spec.channels, spec.channels, 3, padding=1)
        self.attention = attention(spec.channels, spec.window)

    def forward(self, x: Tensor) -> Tensor:
        refined: Tensor = self.attention(self.second(F.relu(self.first(x), inplace=True)))
        return x + refined


class MASRGAN(Trunk):
    """A 3x3 convolution, `blocks` attention blocks, and a skip connection around them.

    48 channels in 8 blocks are 0.40 M parameters, 32 in 4 are 0.09 M, 64 in 16 are 1.4 M, 96 in 20 are 3.9 M.
    """

    def __init__(self, spec: ModelSpec, attention: AttentionFactory = MixAttention) -> None:
        window_radius = 0 if attention in WINDOWLESS_ATTENTION else spec.window // 2
        super().__init__(spec, body_radius=1 + spec.blocks * (2 + window_radius))
        self.head = nn.Conv2d(3, spec.channels, 3, padding=1)
        self.blocks = nn.Sequential(*(AttentionBlock(spec, attention) for _ in range(spec.blocks)))

    def body(self, x: Tensor) -> Tensor:
        shallow = self.head(x)
        deep: Tensor = shallow + self.blocks(shallow)
        return deep
