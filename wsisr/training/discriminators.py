"""Discriminators: a U-Net with one logit a pixel, or VGG-like layers with one logit a patch.

Sources: Real-ESRGAN, Wang et al., ICCV Workshops 2021, arXiv 2107.10833; SRGAN, Ledig et al., CVPR 2017, arXiv
1609.04802. MASRGAN's abstract names no discriminator; these, with spectral normalisation in both, are this project's
choice. So is their input: the pixels and, amplified, their finest detail. There an output differs from the truth by
little compared with the contrast of the image, and spectrally normalised layers (norm 1) amplify nothing.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

LEAKY_RELU_SLOPE = 0.2

DETAIL_GAIN = 8.0
"""Factor on the difference between a pixel and the mean of the 3x3 px around it."""


def build_spectral_convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    """Return a convolution whose largest singular value is held at about 1."""
    side = 3 if stride == 1 else 4
    return spectral_norm(nn.Conv2d(inputs, outputs, side, stride, 1, bias=False))


def add_detail_channels(x: Tensor) -> Tensor:
    """(n, 3, h, w) sRGB in [0, 1] to (n, 6, h, w): centred pixels and amplified detail."""
    finest = x - F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    return torch.cat([x - 0.5, DETAIL_GAIN * finest], dim=1)


class UNetDiscriminator(nn.Module):
    """(n, 3, h, w) sRGB in [0, 1] to (n, 1, h, w) logits: above 0 is taken for truth. Sides of at least 8 px."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [channels, 2 * channels, 4 * channels, 8 * channels]
        self.head = nn.Conv2d(6, channels, 3, padding=1)
        self.down = nn.ModuleList(build_spectral_convolution(widths[i], widths[i + 1], stride=2) for i in range(3))
        self.up = nn.ModuleList(build_spectral_convolution(widths[i + 1], widths[i]) for i in reversed(range(3)))
        self.last = nn.Sequential(
            build_spectral_convolution(channels, channels),
            nn.LeakyReLU(LEAKY_RELU_SLOPE),
            nn.Conv2d(channels, 1, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        skips = [F.leaky_relu(self.head(add_detail_channels(x)), LEAKY_RELU_SLOPE)]
        for layer in self.down:
            skips.append(F.leaky_relu(layer(skips[-1]), LEAKY_RELU_SLOPE))
        y = skips.pop()
        for layer in self.up:
            skip = skips.pop()
            y = F.interpolate(y, size=skip.shape[2:], mode="bilinear", align_corners=False)
            y = F.leaky_relu(layer(y), LEAKY_RELU_SLOPE) + skip
        logits: Tensor = self.last(y)
        return logits


class VGGDiscriminator(nn.Module):
    """(n, 3, h, w) sRGB in [0, 1] to (n, 1) logits: above 0 is taken for truth. Sides of at least 16 px."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [channels, 2 * channels, 4 * channels, 8 * channels]
        layers: list[nn.Module] = [nn.Conv2d(6, channels, 3, padding=1), nn.LeakyReLU(LEAKY_RELU_SLOPE)]
        for narrow, wide in pairwise(widths):
            layers += [
                build_spectral_convolution(narrow, wide, stride=2),
                nn.LeakyReLU(LEAKY_RELU_SLOPE),
                build_spectral_convolution(wide, wide),
                nn.LeakyReLU(LEAKY_RELU_SLOPE),
            ]
        self.layers = nn.Sequential(*layers)
        widest = widths[-1]
        self.last = nn.Sequential(nn.Linear(widest, widest), nn.LeakyReLU(LEAKY_RELU_SLOPE), nn.Linear(widest, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.layers(add_detail_channels(x)).mean(dim=(2, 3)))
        return logits


DISCRIMINATORS: dict[str, type[UNetDiscriminator | VGGDiscriminator]] = {
    "unet": UNetDiscriminator,
    "vgg": VGGDiscriminator,
}
"""Classes by the names used in recipes."""
