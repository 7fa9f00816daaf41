"""Bicubic enlargement as fixed convolutions: the same in torch and in ONNX, and fast beside a network.

Tensors are (n, channels, h, w) in [0, 1]. Results are not shuffled yet: (n, 3*scale^2, h, w) in the channel order of
`pixel_shuffle`, so that adding a residual needs no pass over the enlarged image.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsisr.imaging.pixels import CUBIC_RADIUS, cubic_weights


class PillowBicubic(nn.Module):
    """(n, 3, h, w) to (n, 3*scale^2, h, w) as Pillow does it: a = -0.5, rows first, rounded to 8 bits in between.

    At the border Pillow leaves out the weights of missing pixels and divides by the sum of the others. Without the
    rounding, flat ground with a grain of one grey level came out 0.06 dB below Pillow's. Sums are of whole grey levels:
    at x2 and x4, where weights are multiples of 1/1024, they are exact, so no half is rounded up in one tile and down
    in another.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        # In NumPy: on torch's meta device, on which `load_network` finds a network's shapes, torch.eye imports torch's
        # compiler, which takes two seconds.
        weights, colours, phases = cubic_weights(scale), np.eye(3), np.eye(scale)
        rows = np.einsum("cd,pk->cpdk", colours, weights).reshape(3 * scale, 3, 1, -1)
        columns = np.einsum("cd,pr,qk->cqpdrk", colours, phases, weights).reshape(3 * scale**2, 3 * scale, -1, 1)
        for name, values in (("rows", rows), ("columns", columns)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = _round_half_up(x * 255)
        padding = (0, CUBIC_RADIUS)
        present = x[:1, :, :1] * 0 + 1  # ones of the right shape, without shape operators in ONNX
        wide = F.conv2d(x, self.rows, padding=padding) / F.conv2d(present, self.rows, padding=padding)
        wide = _round_half_up(wide).clamp(0, 255)
        padding = (CUBIC_RADIUS, 0)
        present = wide[:1, :, :, :1] * 0 + 1
        tall = F.conv2d(wide, self.columns, padding=padding) / F.conv2d(present, self.columns, padding=padding)
        return tall / 255


def _round_half_up(levels: Tensor) -> Tensor:
    """Round to whole grey levels, halves up, as Pillow does."""
    return (levels + 0.5).floor()


def disable_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Context: run in fp32 inside an autocast region; no effect outside of one, as in an ONNX export."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()
