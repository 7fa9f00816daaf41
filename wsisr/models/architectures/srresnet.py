"""SRResNet, the generator of SRGAN, as a baseline.

Source: Ledig et al., CVPR 2017, arXiv 1609.04802. Without batch normalisation, as its successors (EDSR, ESRGAN) are;
the enlargement is `Trunk`'s.
"""

from __future__ import annotations

from torch import Tensor, nn

from wsisr.models.architectures.trunk import Trunk
from wsisr.models.spec import ModelSpec


class SRResNetBlock(nn.Module):
    """(n, c, h, w) to (n, c, h, w): two 3x3 convolutions with a PReLU between them, around a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.bend = nn.PReLU(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        refined: Tensor = self.second(self.bend(self.first(x)))
        return x + refined


class SRResNet(Trunk):
    """A 9x9 convolution, `blocks` residual blocks and a 3x3 convolution, around which there is a skip connection."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, body_radius=4 + 2 * spec.blocks + 1)
        self.head = nn.Sequential(nn.Conv2d(3, spec.channels, 9, padding=4), nn.PReLU(spec.channels))
        self.blocks = nn.Sequential(*(SRResNetBlock(spec.channels) for _ in range(spec.blocks)))
        self.last = nn.Conv2d(spec.channels, spec.channels, 3, padding=1)

    def body(self, x: Tensor) -> Tensor:
        shallow = self.head(x)
        deep: Tensor = shallow + self.last(self.blocks(shallow))
        return deep
