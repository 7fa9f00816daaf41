"""Laws of how a network meets its data in training."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from wsisr.training.distributed import ExactInputPrecision


class Witness(nn.Module):
    """Returns its input, and the data type in which a convolution computes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, str]:
        return x, str(self.layer(x).dtype)


def test_a_network_sees_every_grey_level_and_computes_in_half_precision() -> None:
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[ExactInputPrecision("bf16-mixed", "cpu")])
    levels = (torch.arange(256) / 255).reshape(1, 1, 16, 16)
    seen, dtype = fabric.setup(Witness())(levels)
    assert torch.equal(seen, levels)
    assert dtype == "torch.bfloat16"
