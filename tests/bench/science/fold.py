"""A network without attention that starts where one with attention is: gates become their means.

    python -m tests.bench fold masrgan-x2 SLIDE... -o start.safetensors

Each gate of `MixAttention` is replaced by the number that its mean over crops of the slides comes to, weighted by the
energy of what it multiplies; what is then left of the attention is a 1x1 convolution, folded into the 3x3 before it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb, shrink_image
from wsisr.models.architectures.attention import MixAttention
from wsisr.models.catalog import find_model
from wsisr.models.weights import build_network, load_network, save_weights
from wsisr.slides import open_slide

CROP_PX, CROPS_A_LEVEL, AT_ONCE = 96, 4, 8


@dataclass
class Gates:
    """Energy that passes the gates of one block over the energy that comes to them."""

    channel: Tensor | float = 0.0
    place: Tensor | float = 0.0
    energy: Tensor | float = 0.0

    def __call__(self, attention: nn.Module, inputs: tuple[Tensor], _output: Tensor) -> None:
        """As a hook of a `MixAttention`, whose gates it computes again."""
        assert isinstance(attention, MixAttention)
        x = inputs[0]
        context, place = attention.squeeze(x).chunk(2, dim=1)
        channel = torch.sigmoid(attention.excite(F.relu(attention.gather(context))))
        energy = x**2
        self.channel = self.channel + (channel * energy).sum((0, 2, 3))
        self.place = self.place + (torch.sigmoid(attention.locate(F.relu(place))) * energy).sum((0, 2, 3))
        self.energy = self.energy + energy.sum((0, 2, 3))

    def folded(self, attention: MixAttention, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and bias of the convolution before the attention, with the attention in them."""
        by_channel, by_place = attention.fuse.weight[:, :, 0, 0].chunk(2, dim=1)
        channel = torch.as_tensor(self.channel) / self.energy
        place = torch.as_tensor(self.place).sum() / torch.as_tensor(self.energy).sum()
        mixed = by_channel * channel + by_place * place
        assert attention.fuse.bias is not None
        return torch.einsum("oi,ijkl->ojkl", mixed, weight), mixed @ bias + attention.fuse.bias


def crops(slides: list[Path], scale: int) -> Iterator[Rgb]:
    """(96, 96, 3) of every level that is large enough, shrunk by the scale."""
    random, side = np.random.default_rng(0), CROP_PX * scale
    for path in slides:
        with open_slide(path) as slide:
            for number, level in enumerate(slide.info.levels):
                if min(level.size.width, level.size.height) < side:
                    continue
                for _ in range(CROPS_A_LEVEL):
                    left = int(random.integers(level.size.width - side + 1))
                    top = int(random.integers(level.size.height - side + 1))
                    yield shrink_image(slide.read(Box(left, top, left + side, top + side), number), scale, "area")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("slides", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    spec, network = load_network(find_model(asked.model).path)
    blocks = [module for module in network.modules() if isinstance(getattr(module, "attention", None), MixAttention)]
    gates = [Gates() for _ in blocks]
    for block, gate in zip(blocks, gates, strict=True):
        block.attention.register_forward_hook(gate)  # type: ignore[union-attr]
    images = torch.from_numpy(np.stack(list(crops(asked.slides, spec.scale)))).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        for some in torch.split(images, AT_ONCE):
            network(some)
        state = {name: tensor for name, tensor in network.state_dict().items() if ".attention." not in name}
        for number, (block, gate) in enumerate(zip(blocks, gates, strict=True)):
            before: nn.Conv2d = block.second  # type: ignore[assignment]
            assert before.bias is not None
            weight, bias = gate.folded(block.attention, before.weight, before.bias)  # type: ignore[arg-type]
            state |= {f"blocks.{number}.second.weight": weight, f"blocks.{number}.second.bias": bias}
    plain = replace(spec, family="masrgan-none")
    build_network(plain).load_state_dict(state)
    save_weights(asked.output, plain, state)


if __name__ == "__main__":
    main()
