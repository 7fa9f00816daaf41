"""Re-parameterised training: each 3x3 kernel is trained as a sum of branches, which are merged into one kernel exactly.

The branches are those of an edge-oriented convolution block (ECBSR, Zhang et al., ACM Multimedia 2021): a 3x3 kernel, a
3x3 kernel after a widening 1x1 one, and 1x1 kernels times the fixed masks of the point, both Sobel filters and the
Laplacian. They are merged before each convolution, not after training: a convolution costs what a plain one costs, and
the merged kernel is the very one that was trained with. That branches start at zero, so that the first step is one of
the plain network, is this project's choice.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from wsisr.models.architectures.bicubic import disable_autocast

WIDENING = 2
"""Channels between the 1x1 and the 3x3 kernel of the wide branch, as a multiple of the input's."""

POINT = ((0.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0))
SOBEL = ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0))
LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))


class KernelBranches(nn.Module):
    """Parametrisation of the weight of a convolution, (o, i, 3, 3): adds the branches to it."""

    masks: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        outputs, inputs = weight.shape[:2]
        masks = torch.tensor([POINT, SOBEL, tuple(zip(*SOBEL, strict=True)), LAPLACIAN])
        masks /= masks.square().sum((1, 2), keepdim=True).sqrt()  # a step moves the kernel equally far along each
        self.register_buffer("masks", masks, persistent=False)
        self.mask_weights = nn.Parameter(torch.zeros(len(masks), outputs, inputs))
        self.widen = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(WIDENING * inputs, inputs)))
        self.narrow = nn.Parameter(torch.zeros(outputs, WIDENING * inputs, 3, 3))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.merge_branches()

    def right_inverse(self, merged: Tensor) -> Tensor:
        """Return the weight that makes `merged` with the branches as they are."""
        return merged - self.merge_branches()

    def merge_branches(self) -> Tensor:
        """Return the kernel, (o, i, 3, 3), that computes what all branches do together."""
        with disable_autocast(self.narrow):
            by_mask = torch.einsum("moi,mkl->oikl", self.mask_weights, self.masks)
            return by_mask + torch.einsum("owkl,wi->oikl", self.narrow, self.widen)


def add_kernel_branches(network: nn.Module) -> None:
    """Give each 3x3 convolution of a network its branches, of no effect yet."""
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3) and module.groups == 1:
            parametrize.register_parametrization(module, "weight", KernelBranches(module.weight))


@torch.no_grad()
def read_merged_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that the network has without branches, by their names, with all kernels merged."""
    tensors: dict[str, Tensor] = network.state_dict()
    for name, module in network.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            branches = [key for key in tensors if key.startswith(f"{name}.parametrizations.weight.")]
            for key in branches:
                del tensors[key]
            tensors[f"{name}.weight"] = module.weight
    return tensors


@torch.no_grad()
def load_merged_tensors(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Set the tensors of a network without branches, all of them; branches stay, and their sum is taken off."""
    parametrised = {
        f"{name}.weight": module
        for name, module in network.named_modules()
        if parametrize.is_parametrized(module, "weight")
    }
    for name, module in parametrised.items():
        module.weight = tensors[name]
    others = {name: tensor for name, tensor in tensors.items() if name not in parametrised}
    network.load_state_dict(others, strict=False)
