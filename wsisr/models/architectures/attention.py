"""Local attention: channel attention from the mean of a window around each pixel, spatial attention from the pixel.

A mean over the whole tile would make the result depend on the tiling. Each module maps (n, c, h, w) to (n, c, h, w).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def attention_channels(channels: int) -> int:
    """Return the number of channels in which attention is computed."""
    return max(channels // 4, 8)


def build_window_convolution(channels: int, window: int) -> nn.Conv2d:
    """Return a depthwise convolution that starts as the mean of a window; its weights are learned.

    A weighted mean and a 1x1 convolution commute, so callers reduce the channels first, to a quarter, and convolve
    fewer of them. On a CPU it is also twenty times as fast as average pooling with stride 1.
    """
    gather = nn.Conv2d(channels, channels, window, padding=window // 2, groups=channels)
    nn.init.constant_(gather.weight, 1 / window**2)
    return gather


class MixAttention(nn.Module):
    """Channel and spatial attention in parallel, both computed from the input, and fused.

    fuse([x * channel, x * spatial]) is computed as A(x * channel) + B(x) * spatial, because a factor per pixel commutes
    with a 1x1 convolution: nothing is concatenated, and a pass over the features is saved.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        inner = attention_channels(channels)
        self.squeeze = nn.Conv2d(channels, 2 * inner, 1)
        self.gather = build_window_convolution(inner, window)
        self.excite = nn.Conv2d(inner, channels, 1)
        self.locate = nn.Conv2d(inner, 1, 1)
        self.fuse = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        assert self.squeeze.bias is not None
        squeezes = zip(self.squeeze.weight.chunk(2), self.squeeze.bias.chunk(2), strict=True)
        for_channels, for_pixels = (F.conv2d(x, weight, bias) for weight, bias in squeezes)
        channel = self.excite(F.relu(self.gather(for_channels), inplace=True)).sigmoid_()
        spatial = self.locate(F.relu(for_pixels, inplace=True)).sigmoid_()
        channel_weight, spatial_weight = self.fuse.weight.chunk(2, dim=1)
        fused = F.conv2d(x * channel, channel_weight, self.fuse.bias)
        del channel  # as large as the features: its memory is reused by the next convolution
        return fused.addcmul_(F.conv2d(x, spatial_weight), spatial)


class ChannelAttention(nn.Module):
    """Channel attention, then a 1x1 convolution."""

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, attention_channels(channels), 1)
        self.gather = build_window_convolution(attention_channels(channels), window)
        self.excite = nn.Conv2d(attention_channels(channels), channels, 1)
        self.fuse = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.excite(F.relu(self.gather(self.squeeze(x)))))
        fused: Tensor = self.fuse(x * gate)
        return fused


class SpatialAttention(nn.Module):
    """Spatial attention, then a 1x1 convolution. It does not use the window."""

    def __init__(self, channels: int, window: int) -> None:  # noqa: ARG002 - all kinds are built alike
        super().__init__()
        self.squeeze = nn.Conv2d(channels, attention_channels(channels), 1)
        self.locate = nn.Conv2d(attention_channels(channels), 1, 1)
        self.fuse = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.locate(F.relu(self.squeeze(x))))
        fused: Tensor = self.fuse(x * gate)
        return fused


class SequentialAttention(nn.Sequential):
    """Channel attention, then spatial attention on its result, as in CBAM."""

    def __init__(self, channels: int, window: int) -> None:
        super().__init__(ChannelAttention(channels, window), SpatialAttention(channels, window))


class NoAttention(nn.Identity):
    """The identity: blocks without attention, for comparison."""

    def __init__(self, channels: int, window: int) -> None:  # noqa: ARG002 - all kinds are built alike
        super().__init__()


AttentionFactory = Callable[[int, int], nn.Module]
"""Builds a module from the number of channels and the side of the window."""

WINDOWLESS_ATTENTION: tuple[AttentionFactory, ...] = (NoAttention, SpatialAttention)
"""Attention that adds nothing to the receptive field."""
