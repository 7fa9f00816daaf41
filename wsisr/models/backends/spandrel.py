"""Load third-party weights (ESRGAN and its relatives) from safetensors with spandrel, an optional package.

Spandrel identifies the network by the names of its tensors. Nothing in a file is executed: pickles never get here.
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
    """(n, 3, h, w) sRGB in [0, 1] to (n, 3, h*scale, w*scale): a network whose value range was measured."""

    is_local = True  # probing refuses others

    def __init__(self, network: nn.Module, probed: ProbedModel) -> None:
        super().__init__()
        self.network, self.probed = network, probed
        self.scale, self.receptive_field = probed.scale, probed.receptive_field
        self.black, self.white = probed.value_range

    def forward(self, x: Tensor) -> Tensor:
        span = self.white - self.black
        enlarged: Tensor = (self.network(x * span + self.black) - self.black) / span
        return enlarged


def load_third_party_network(path: Path) -> ThirdPartyNetwork:
    """Load the network whose weights a safetensors file holds, in fp32 on the CPU.

    Raises `ModelError` if spandrel is missing or does not know the network, or if it does not enlarge tiles.
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
    """Build spandrel's network for these tensors. Raises `ModelError`."""
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError  # noqa: PLC0415 - an extra
    except (ModuleNotFoundError, RuntimeError) as error:  # RuntimeError: torchvision does not fit the build of torch
        raise ModelError(
            f"{path}: not wsisr's weights; others need spandrel ({describe_error(error)}): pip install 'wsisr[foreign]'"
        ) from error
    try:
        model = ModelLoader(torch.device("cpu")).load_from_state_dict(tensors)
    except (UnsupportedModelError, RuntimeError, KeyError, ValueError) as error:
        raise ModelError(f"{path}: neither wsisr's weights nor of a network that spandrel knows") from error
    if not isinstance(model, ImageModelDescriptor) or (model.input_channels, model.output_channels) != (CHANNELS,) * 2:
        raise ModelError(f"{path}: {model.architecture.name} does not map RGB to RGB; choose another network")
    network: nn.Module = model.model.float().eval()
    return network
