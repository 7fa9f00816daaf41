"""What tells output from truth: a U-Net with spectral normalisation, which judges every pixel.

Source: Real-ESRGAN, Wang et al., ICCV Workshops 2021, arXiv 2107.10833. MASRGAN's abstract names no discriminator; this
one is this project's choice, and so is what it is shown: beside the pixels, what is finest in them, made larger. There
an output differs from the truth by little beside the contrast of the picture, and layers of norm 1 make nothing larger.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2

MAGNIFIED = 8.0
"""How much larger the difference of a pixel to the mean of the 3x3 px around it is shown."""


def normed(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    """A convolution whose largest singular value is held at about 1."""
    side = 3 if stride == 1 else 4
    return spectral_norm(nn.Conv2d(inputs, outputs, side, stride, 1, bias=False))


class UNet(nn.Module):
    """(n, 3, h, w) sRGB in [0, 1] to (n, 1, h, w) logits: above 0 is taken for truth. Sides are at least 8 px."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [channels, 2 * channels, 4 * channels, 8 * channels]
        self.head = nn.Conv2d(6, channels, 3, padding=1)
        self.down = nn.ModuleList(normed(widths[i], widths[i + 1], stride=2) for i in range(3))
        self.up = nn.ModuleList(normed(widths[i + 1], widths[i]) for i in reversed(range(3)))
        self.last = nn.Sequential(normed(channels, channels), nn.LeakyReLU(SLOPE), nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        finest = x - F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        shown = torch.cat([x - 0.5, MAGNIFIED * finest], dim=1)
        stages = [F.leaky_relu(self.head(shown), SLOPE)]
        for layer in self.down:
            stages.append(F.leaky_relu(layer(stages[-1]), SLOPE))
        y = stages.pop()
        for layer in self.up:
            beside = stages.pop()
            y = F.interpolate(y, size=beside.shape[2:], mode="bilinear", align_corners=False)
            y = F.leaky_relu(layer(y), SLOPE) + beside
        judged: Tensor = self.last(y)
        return judged
