"""The objective of a run: every loss of the configuration by its name, times its weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wsisr.models.architectures.mmsrnet import MMSRNet
from wsisr.models.spec import ModelSpec
from wsisr.training import losses
from wsisr.training.config import LossConfig
from wsisr.training.features import load_features

PAIR_LOSSES = {
    "l1": losses.l1_loss,
    "charbonnier": losses.charbonnier_loss,
    "ssim": losses.ssim_loss,
    "fourier": losses.fourier_loss,
}
"""Losses that need only the output and the truth."""


class TrainingModel(nn.Module):
    """The network as it is trained: pixels and, for an `mmsrnet`, logits in one forward pass."""

    def __init__(self, network: nn.Module, *, enlarges: bool) -> None:
        """With `enlarges` false, because no loss compares pixels, only the branch is computed."""
        super().__init__()
        self.network, self.enlarges = network, enlarges

    def forward(self, x: Tensor, branch_input: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Enlarge `x`, (n, 3, h, w), and classify the first quarter of `branch_input`, the same crops recompressed.

        A quarter, because each sample passes the trunk a second time, which costs more than it teaches. If only the
        branch learns, all of them are classified.
        """
        enlarged = self.network(x) if self.enlarges else None
        if branch_input is None or not isinstance(self.network, MMSRNet):
            return enlarged, None
        return enlarged, self.network.compute_logits(
            branch_input[: -(-len(branch_input) // 4)] if self.enlarges else branch_input
        )


class StepInputs(NamedTuple):
    """The tensors of a part of a batch that a training step computes with, on the device."""

    low: Tensor
    """(n, 3, p, p)"""
    high: Tensor
    """(n, 3, p*scale, p*scale)"""
    branch_input: Tensor | None = None
    """(n, 3, p, p): what a classification branch sees."""
    labels: Tensor | None = None
    """(n,): index of the magnification of each, for a classification branch."""


class Objective:
    """Computes the weighted losses of a batch."""

    def __init__(self, config: LossConfig, spec: ModelSpec, device: torch.device) -> None:
        """Raises `ModelError` or `ConfigError` if the feature network of a perceptual loss cannot be loaded."""
        self.weights, self.spec = config.weights, spec
        self.features = load_features(config.features, device) if config.features else None

    def __call__(self, inputs: StepInputs, enlarged: Tensor | None, logits: Tensor | None) -> dict[str, Tensor]:
        """Return the weighted losses, without the adversarial one, which needs the discriminator."""
        terms = {} if enlarged is None else self._compute_pixel_terms(inputs, enlarged)
        if logits is not None:
            assert inputs.labels is not None
            terms["classification"] = losses.classification_loss(logits, inputs.labels[: len(logits)])
        return {name: self.weights[name] * term for name, term in terms.items()}

    def _compute_pixel_terms(self, inputs: StepInputs, enlarged: Tensor) -> dict[str, Tensor]:
        terms = {name: loss(enlarged, inputs.high) for name, loss in PAIR_LOSSES.items() if name in self.weights}
        if "consistency" in self.weights:
            terms["consistency"] = losses.consistency_loss(enlarged, inputs.low)
        if self.features is not None:
            terms["perceptual"] = losses.perceptual_loss(self.features(enlarged), self.features(inputs.high))
        return terms


def label_magnifications(spec: ModelSpec, pitches: Sequence[float]) -> Tensor:
    """Return (n,) class indices for inputs with these pixel sizes in um/px; `UNKNOWN_LABEL` where none fits."""
    classes = [spec.magnification_class(mpp) for mpp in pitches]
    return torch.tensor([losses.UNKNOWN_LABEL if index is None else index for index in classes])
