"""What a perceptual loss compares: features of this project's classifiers, or of VGG19.

Features of an `mmsrnet` were learned on tissue, and come with wsisr. VGG19's were learned on photographs; who may use
its weights brings torchvision's own file, of which only convolutions are taken, without running anything in it.
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
from wsisr.training.safe_load import UNREADABLE

VGG_SUFFIX = ".pth"

_CHANNELS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Of VGG19: channels, and convolutions before the next halving. Source: Simonyan, Zisserman, arXiv 1409.1556, E."""

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the photographs on which torchvision's weights were learned, as its documentation gives them; sRGB in [0, 1]."""

_LARGEST_BYTES = 1 << 30


class Tissue(nn.Module):
    """(n, 3, h, w) sRGB in [0, 1] to (n, c, h/4, w/4): the features of a classifier's branch."""

    def __init__(self, network: MMSRNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network.branch.seen(self.network.features(pixels))


class VGG19(nn.Module):
    """(n, 3, h, w) sRGB in [0, 1] to (n, 512, h/16, w/16): the last convolution, before what is negative is cut off.

    Source of the choice of layer: Wang et al., ESRGAN, arXiv 1809.00219.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        last = 3
        for channels, convolutions in _CHANNELS:
            for _ in range(convolutions):
                layers += [nn.Conv2d(last, channels, 3, padding=1), nn.ReLU()]
                last = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-2])
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        found: Tensor = self.features((pixels - self.mean) / self.deviation)
        return found


Features: TypeAlias = Tissue | VGG19


def features_of(path: Path, device: torch.device) -> Features:
    """Of the weights of an `mmsrnet`, or of torchvision's VGG19 where the file ends with `.pth`. They do not learn.

    Raises `ModelError` or `ConfigError` where the file holds neither.
    """
    found = _vgg19(path) if path.suffix == VGG_SUFFIX else _tissue(path)
    return found.eval().requires_grad_(requires_grad=False).to(device)


def _tissue(path: Path) -> Tissue:
    _, network = load_network(path)
    if not isinstance(network, MMSRNet):
        raise ConfigError(f"{path}: classifies nothing; features are those of an mmsrnet, or VGG19's as a {VGG_SUFFIX}")
    return Tissue(network)


def _vgg19(path: Path) -> VGG19:
    network = VGG19()
    own = network.state_dict()
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ValueError("is larger than any VGG19")
        with catch_warnings():  # of pickles of other ages, before they are refused or turn out to be good
            simplefilter("ignore")
            given = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict({name: given[name] for name in own})
    except UNREADABLE as error:
        raise ModelError(
            f"{path}: does not hold the weights of torchvision's vgg19; download its file again"
        ) from error
    if not all(tensor.isfinite().all() for tensor in network.state_dict().values()):
        raise ModelError(f"{path}: holds values that are no numbers; download its file again")
    return network
