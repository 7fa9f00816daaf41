"""Folding: a network without attention that starts where a trained one with attention is.

Each gate of `MixAttention` is replaced by its mean over training inputs, weighted by the energy (the square) of the
features that it multiplies. What is left of the attention is a 1x1 convolution, which is multiplied into the 3x3
convolution before it: `masrgan` becomes `masrgan-none`, of about the same output and in less than half of the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsisr.errors import ModelError
from wsisr.models.architectures.attention import MixAttention
from wsisr.models.architectures.masrgan import MASRGAN, AttentionBlock
from wsisr.models.spec import ModelSpec
from wsisr.models.weights import build_network, warm_start
from wsisr.models.weights_header import read_model_spec

ATTENTIVE_FAMILY, FOLDED_FAMILY = "masrgan", "masrgan-none"


class GateMeans:
    """Means of the gates of one attention module, weighted by the energy of their inputs.

    A forward hook of a `MixAttention`, whose gates it computes a second time.
    """

    def __init__(self, channels: int) -> None:
        self.gated_by_channel, self.gated_by_place, self.energy = (torch.zeros(channels) for _ in range(3))

    def __call__(self, attention: nn.Module, inputs: tuple[Tensor], _output: Tensor) -> None:
        assert isinstance(attention, MixAttention)
        context, place = attention.squeeze(inputs[0]).chunk(2, dim=1)
        channel_gate = torch.sigmoid(attention.excite(F.relu(attention.gather(context))))
        place_gate = torch.sigmoid(attention.locate(F.relu(place)))
        energy = inputs[0] ** 2
        self.gated_by_channel += (channel_gate * energy).sum((0, 2, 3))
        self.gated_by_place += (place_gate * energy).sum((0, 2, 3))
        self.energy += energy.sum((0, 2, 3))

    @property
    def channel(self) -> Tensor:
        """(c,): mean of each channel's gate."""
        return self.gated_by_channel / self.energy.clamp_min(torch.finfo(torch.float32).tiny)

    @property
    def place(self) -> Tensor:
        """Mean of the spatial gate."""
        return self.gated_by_place.sum() / self.energy.sum().clamp_min(torch.finfo(torch.float32).tiny)

    def fold(self, attention: MixAttention, convolution: nn.Conv2d) -> tuple[Tensor, Tensor]:
        """Return weight and bias of `convolution` followed by `attention` with its gates at their means."""
        by_channel, by_place = attention.fuse.weight[:, :, 0, 0].chunk(2, dim=1)
        mixing = by_channel * self.channel + by_place * self.place
        assert attention.fuse.bias is not None
        assert convolution.bias is not None
        weight = torch.einsum("oi,ijkl->ojkl", mixing, convolution.weight)
        return weight, mixing @ convolution.bias + attention.fuse.bias


@torch.no_grad()
def fold_attention(network: MASRGAN, inputs: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a `masrgan-none` that computes `network` with its gates at their means over `inputs`.

    `inputs` are (n, 3, h, w), sRGB in [0, 1], on the network's device.
    """
    blocks = [block for block in network.blocks if isinstance(block, AttentionBlock)]
    means = [GateMeans(network.channels) for _ in blocks]
    hooks = [block.attention.register_forward_hook(mean) for block, mean in zip(blocks, means, strict=True)]
    for pixels in inputs:
        network(pixels)
    for hook in hooks:
        hook.remove()
    state = {name: tensor for name, tensor in network.state_dict().items() if ".attention." not in name}
    for index, (block, mean) in enumerate(zip(blocks, means, strict=True)):
        assert isinstance(block.attention, MixAttention)
        weight, bias = mean.fold(block.attention, block.second)
        state |= {f"blocks.{index}.second.weight": weight, f"blocks.{index}.second.bias": bias}
    return state


def fold_weights(paths: Sequence[Path], spec: ModelSpec, inputs: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a network of shape `spec` folded from weights files, from the mean of several.

    Raises `ModelError` if the weights are not a `masrgan` of that shape, or `spec` is not a `masrgan-none`.
    """
    donor_spec = read_model_spec(paths[0])
    families = donor_spec.family, spec.family
    if families != (ATTENTIVE_FAMILY, FOLDED_FAMILY):
        raise ModelError(
            f"{paths[0]}: {donor_spec.family} cannot be folded into {spec.family}; "
            f"fold makes a {FOLDED_FAMILY} of a {ATTENTIVE_FAMILY}"
        )
    for name in ("scale", "channels", "blocks"):
        if getattr(donor_spec, name) != getattr(spec, name):
            raise ModelError(
                f"{paths[0]}: has {name} = {getattr(donor_spec, name)}; a network to be folded from it has the same"
            )
    network = build_network(donor_spec)
    assert isinstance(network, MASRGAN)
    warm_start(network, paths)
    return fold_attention(network.eval(), inputs)
