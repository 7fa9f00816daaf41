"""A chain of plain 3x3 convolutions at half the input's resolution: the shape that a CPU computes fastest.

Four input pixels become the channels of one cell, so a convolution costs a quarter, and its channels can be as many as
matrix units of a processor want. There are no skip connections, whose additions are passes over memory; every
convolution starts as the identity plus noise instead, without which so deep a chain learns slowly. That follows the
winners of NTIRE's contests of efficient super-resolution (2022 to 2026) in kind; all sizes are this project's choice.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from wsisr.models.architectures.trunk import Trunk, compute_detail_gate
from wsisr.models.spec import ModelSpec

CELL_PX = 2
"""Side of the square of input pixels that one cell of the features stands for."""

INITIAL_NOISE = 0.5
"""Share of He's standard deviation that is added to the identity when a convolution is initialised."""


class HalfResolution(Trunk):
    """`blocks` 3x3 convolutions of cells, each with a ReLU, after a first one that widens them to `channels`.

    96 channels in 8 blocks are 0.72 M parameters.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, body_radius=CELL_PX * (1 + spec.blocks), cell_px=CELL_PX)
        self.head = nn.Conv2d(3 * CELL_PX**2, spec.channels, 3, padding=1)
        self.blocks = nn.ModuleList(build_near_identity(spec.channels) for _ in range(spec.blocks))

    def compute_gate(self, x: Tensor) -> Tensor:
        return compute_detail_gate(x)

    def body(self, x: Tensor) -> Tensor:
        features = F.relu(self.head(F.pixel_unshuffle(fill_cells(x), CELL_PX)), inplace=True)
        for convolution in self.blocks:
            features = F.relu(convolution(features), inplace=True)
        return features


def fill_cells(x: Tensor) -> Tensor:
    """Repeat the last column and row of (n, c, h, w) where they would leave a cell incomplete."""
    height, width = x.shape[2:]
    return F.pad(x, (0, -width % CELL_PX, 0, -height % CELL_PX), mode="replicate")


def build_near_identity(channels: int) -> nn.Conv2d:
    """Return a 3x3 convolution that starts as the identity plus noise."""
    convolution = nn.Conv2d(channels, channels, 3, padding=1)
    noise = INITIAL_NOISE * nn.init.kaiming_normal_(convolution.weight.detach().clone(), nonlinearity="relu")
    nn.init.dirac_(convolution.weight)
    convolution.weight.data += noise
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution
