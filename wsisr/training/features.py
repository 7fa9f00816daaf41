"""Feature networks of the perceptual loss: an `mmsrnet` classifier of this project, or VGG19.

Features of an `mmsrnet` were learned on tissue and are shipped with wsisr. VGG19's were learned on photographs; users
entitled to its weights supply torchvision's own file, from which only the convolutions are read and nothing is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor, nn

from wsisr.errors import ConfigError, ModelError
from wsisr.models.architectures.mmsrnet import MMSRNet
from wsisr.models.weights import load_network
from wsisr.training.safe_load import TORCH_LOAD_ERRORS

VGG_SUFFIX = ".pth"

_VGG19_STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Channels and number of convolutions between VGG19's poolings. Source: Simonyan, Zisserman, arXiv 1409.1556, E."""

_IMAGENET_MEAN, _IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the photographs on which torchvision's weights were trained, from its documentation; sRGB in [0, 1]."""

_MAX_FILE_BYTES = 1 << 30


class TissueFeatures(nn.Module):
    """(n, 3, h, w) sRGB in [0, 1] to (n, c, h/4, w/4): features of the classification branch of an `mmsrnet`."""

    def __init__(self, network: MMSRNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network.branch.extract_features(self.network.extract_features(pixels))


class VGG19Features(nn.Module):
    """(n, 3, h, w) sRGB in [0, 1] to (n, 512, h/16, w/16): the last convolution, before its ReLU.

    Source of the choice of layer: Wang et al., ESRGAN, arXiv 1809.00219.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for channels, convolutions in _VGG19_STAGES:
            for _ in range(convolutions):
                layers += [nn.Conv2d(inputs, channels, 3, padding=1), nn.ReLU()]
                inputs = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-2])  # without the last ReLU and pooling
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(_IMAGENET_DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.features((pixels - self.mean) / self.deviation)
        return features


FeatureNetwork: TypeAlias = TissueFeatures | VGG19Features


def load_features(path: Path, device: torch.device) -> FeatureNetwork:
    """Load the weights of an `mmsrnet`, or torchvision's VGG19 if the file ends with `.pth`; their weights are frozen.

    Raises `ModelError` or `ConfigError` if the file holds neither.
    """
    network: FeatureNetwork = _load_vgg19_features(path) if path.suffix == VGG_SUFFIX else _load_tissue_features(path)
    return network.eval().requires_grad_(requires_grad=False).to(device)


def _load_tissue_features(path: Path) -> TissueFeatures:
    _, network = load_network(path)
    if not isinstance(network, MMSRNet):
        raise ConfigError(f"{path}: not a classifier; give an mmsrnet's weights, or VGG19's as a {VGG_SUFFIX} file")
    return TissueFeatures(network)


def _load_vgg19_features(path: Path) -> VGG19Features:
    network = VGG19Features()
    names = list(network.state_dict())
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ValueError("larger than any VGG19")
        with catch_warnings():  # torch warns about old pickle formats, which may still be good
            simplefilter("ignore")
            stored = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict({name: stored[name] for name in names})
    except TORCH_LOAD_ERRORS as error:
        raise ModelError(
            f"{path}: does not hold the weights of torchvision's vgg19; download its file again"
        ) from error
    if not all(tensor.isfinite().all() for tensor in network.state_dict().values()):
        raise ModelError(f"{path}: holds values that are not finite; download its file again")
    return network
