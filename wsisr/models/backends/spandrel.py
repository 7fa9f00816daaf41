"""Weights of networks from elsewhere (the ESRGAN family and its kin), as safetensors, by spandrel: an extra.

spandrel finds the network from the names of its tensors. Nothing in a file is executed: pickles are refused before.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from wsisr.errors import ModelError, describe_error
from wsisr.models.probing import NetworkPlanes, ProbedModel, probe_model
from wsisr.models.weights_header import open_safetensors

CHANNELS = 3


class ThirdPartyNetwork(nn.Module):
    """(n, 3, h, w) sRGB in [0, 1] to (n, 3, h*scale, w*scale): a network that was tried out."""

    local = True  # else it would have been refused

    def __init__(self, network: nn.Module, probed: ProbedModel) -> None:
        super().__init__()
        self.network, self.probed = network, probed
        self.scale, self.context = probed.scale, probed.receptive_field
        self.black, self.white = probed.value_range

    def forward(self, x: Tensor) -> Tensor:
        span = self.white - self.black
        enlarged: Tensor = (self.network(x * span + self.black) - self.black) / span
        return enlarged


def load_third_party_network(path: Path) -> ThirdPartyNetwork:
    """The network that a safetensors file holds the weights of, in fp32 on the CPU.

    Raises `ModelError` where spandrel is missing or knows no such network, or it is none that enlarges tiles.
    """
    with open_safetensors(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    network = _identify_network(path, tensors)

    @torch.inference_mode()
    def run(planes: NetworkPlanes) -> NetworkPlanes:
        enlarged: NetworkPlanes = network(torch.from_numpy(np.ascontiguousarray(planes))).numpy()
        return enlarged

    return ThirdPartyNetwork(network, probe_model(str(path), run)).eval()


def _identify_network(path: Path, tensors: dict[str, Tensor]) -> nn.Module:
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError  # noqa: PLC0415 - an extra
    except (ModuleNotFoundError, RuntimeError) as error:  # torchvision of another build of torch raises the latter
        raise ModelError(
            f"{path}: not wsisr's weights; those of others need spandrel ({describe_error(error)}): pip install "
            "'wsisr[foreign]'"
        ) from error
    try:
        found = ModelLoader(torch.device("cpu")).load_from_state_dict(tensors)
    except (UnsupportedModelError, RuntimeError, KeyError, ValueError) as error:
        raise ModelError(f"{path}: neither wsisr's weights nor of a network that spandrel knows") from error
    if not isinstance(found, ImageModelDescriptor) or (found.input_channels, found.output_channels) != (CHANNELS,) * 2:
        raise ModelError(f"{path}: {found.architecture.name} takes no colour image alone; choose another network")
    network: nn.Module = found.model.float().eval()
    return network
