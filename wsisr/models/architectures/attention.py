"""Local attention: to channels by the mean of a window around each pixel, to places by the pixel itself, or both.

A mean over the whole tile would make the result depend on the tiling. Each maps (n, c, h, w) to (n, c, h, w).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def attention_channels(channels: int) -> int:
    """Channels in which attention is decided."""
    return max(channels // 4, 8)


def build_window_mean(channels: int, window: int) -> nn.Conv2d:
    """A depthwise convolution that starts as a plain mean of a window and learns its weights.

    A weighted mean and a 1x1 convolution commute, so the squeeze comes first and the window costs a quarter. On a CPU
    it is also twenty times faster than average pooling with stride 1.
    """
    gather = nn.Conv2d(channels, channels, window, padding=window // 2, groups=channels)
    nn.init.constant_(gather.weight, 1 / window**2)
    return gather


class MixAttention(nn.Module):
    """The input gated by channel and by spatial attention in parallel, both from the input, and fused.

    fuse([x * channel, x * spatial]) is computed as A(x * channel) + B(x) * spatial, for a number per place commutes
    with a 1x1 convolution: nothing is concatenated, and a pass over the features is saved.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        inner = attention_channels(channels)
        self.squeeze = nn.Conv2d(channels, 2 * inner, 1)
        self.gather = build_window_mean(inner, window)
        self.excite = nn.Conv2d(inner, channels, 1)
        self.locate = nn.Conv2d(inner, 1, 1)
        self.fuse = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        assert self.squeeze.bias is not None
        squeezes = zip(self.squeeze.weight.chunk(2), self.squeeze.bias.chunk(2), strict=True)
        context, place = (F.conv2d(x, weight, bias) for weight, bias in squeezes)
        channel = self.excite(F.relu(self.gather(context), inplace=True)).sigmoid_()
        spatial = self.locate(F.relu(place, inplace=True)).sigmoid_()
        by_channel, by_place = self.fuse.weight.chunk(2, dim=1)
        fused = F.conv2d(x * channel, by_channel, self.fuse.bias)
        del channel  # as large as the features: the next is made in its place
        return fused.addcmul_(F.conv2d(x, by_place), spatial)


class ChannelAttention(nn.Module):
    """The input gated channel by channel, and mixed."""

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, attention_channels(channels), 1)
        self.gather = build_window_mean(attention_channels(channels), window)
        self.excite = nn.Conv2d(attention_channels(channels), channels, 1)
        self.fuse = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.excite(F.relu(self.gather(self.squeeze(x)))))
        fused: Tensor = self.fuse(x * gate)
        return fused


class SpatialAttention(nn.Module):
    """The input gated place by place, and mixed. The window has no part in it."""

    def __init__(self, channels: int, window: int) -> None:  # noqa: ARG002 - all kinds are made alike
        super().__init__()
        self.squeeze = nn.Conv2d(channels, attention_channels(channels), 1)
        self.locate = nn.Conv2d(attention_channels(channels), 1, 1)
        self.fuse = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.locate(F.relu(self.squeeze(x))))
        fused: Tensor = self.fuse(x * gate)
        return fused


class SequentialAttention(nn.Sequential):
    """Channel attention, then spatial attention on what it gave, as in CBAM."""

    def __init__(self, channels: int, window: int) -> None:
        super().__init__(ChannelAttention(channels, window), SpatialAttention(channels, window))


class NoAttention(nn.Identity):
    """None at all."""

    def __init__(self, channels: int, window: int) -> None:  # noqa: ARG002 - all kinds are made alike
        super().__init__()


AttentionFactory = Callable[[int, int], nn.Module]
"""From channels and the side of the window to a module."""

WINDOWLESS_ATTENTION: tuple[AttentionFactory, ...] = (NoAttention, SpatialAttention)
"""Those that see no further than the pixel itself."""
