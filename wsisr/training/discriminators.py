"""What tells output from truth: a U-Net that judges every pixel, or layers as of a VGG that judge a whole patch.

Sources: Real-ESRGAN, Wang et al., ICCV Workshops 2021, arXiv 2107.10833; SRGAN, Ledig et al., CVPR 2017, arXiv
1609.04802. MASRGAN's abstract names no discriminator; these, with spectral normalisation in both, are this project's
choice, and so is what they are shown: beside the pixels, what is finest in them, made larger. There an output differs
from the truth by little beside the contrast of the picture, and layers of norm 1 make nothing larger.
"""

from __future__ import annotations

from itertools import pairwise

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


def shown(x: Tensor) -> Tensor:
    """(n, 3, h, w) sRGB in [0, 1] to (n, 6, h, w)."""
    finest = x - F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    return torch.cat([x - 0.5, MAGNIFIED * finest], dim=1)


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
        stages = [F.leaky_relu(self.head(shown(x)), SLOPE)]
        for layer in self.down:
            stages.append(F.leaky_relu(layer(stages[-1]), SLOPE))
        y = stages.pop()
        for layer in self.up:
            beside = stages.pop()
            y = F.interpolate(y, size=beside.shape[2:], mode="bilinear", align_corners=False)
            y = F.leaky_relu(layer(y), SLOPE) + beside
        judged: Tensor = self.last(y)
        return judged


class VGG(nn.Module):
    """(n, 3, h, w) sRGB in [0, 1] to (n, 1) logits: above 0 is taken for truth. Sides are at least 16 px."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [channels, 2 * channels, 4 * channels, 8 * channels]
        layers: list[nn.Module] = [nn.Conv2d(6, channels, 3, padding=1), nn.LeakyReLU(SLOPE)]
        for narrow, wide in pairwise(widths):
            layers += [normed(narrow, wide, stride=2), nn.LeakyReLU(SLOPE), normed(wide, wide), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers)
        most = widths[-1]
        self.last = nn.Sequential(nn.Linear(most, most), nn.LeakyReLU(SLOPE), nn.Linear(most, 1))

    def forward(self, x: Tensor) -> Tensor:
        judged: Tensor = self.last(self.layers(shown(x)).mean(dim=(2, 3)))
        return judged


DISCRIMINATORS: dict[str, type[UNet | VGG]] = {"unet": UNet, "vgg": VGG}
"""By the names that a recipe gives them."""
