"""The objective of a run: every loss of the configuration by its name, times its weight."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wsisr.models.architectures.mmsrnet import MMSRNet
from wsisr.models.spec import ModelSpec
from wsisr.training import losses
from wsisr.training.config import LossConfig
from wsisr.training.features import load_features
from wsisr.training.sampler import Batch

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


class Objective:
    """Computes the weighted losses of a batch."""

    def __init__(self, config: LossConfig, spec: ModelSpec, device: torch.device) -> None:
        """Raises `ModelError` or `ConfigError` if the feature network of a perceptual loss cannot be loaded."""
        self.weights, self.spec = config.weights, spec
        self.features = load_features(config.features, device) if config.features else None

    def __call__(self, batch: Batch, enlarged: Tensor | None, logits: Tensor | None) -> dict[str, Tensor]:
        """Return the weighted losses, without the adversarial one, which needs the discriminator."""
        terms = {} if enlarged is None else self._compute_pixel_terms(batch, enlarged)
        if logits is not None:
            terms["classification"] = losses.classification_loss(
                logits, label_magnifications(self.spec, batch.mpp[: len(logits)]).to(logits.device)
            )
        return {name: self.weights[name] * term for name, term in terms.items()}

    def _compute_pixel_terms(self, batch: Batch, enlarged: Tensor) -> dict[str, Tensor]:
        terms = {name: loss(enlarged, batch.high) for name, loss in PAIR_LOSSES.items() if name in self.weights}
        if "consistency" in self.weights:
            terms["consistency"] = losses.consistency_loss(enlarged, batch.low)
        if self.features is not None:
            terms["perceptual"] = losses.perceptual_loss(self.features(enlarged), self.features(batch.high))
        return terms


def label_magnifications(spec: ModelSpec, pitches: Sequence[float]) -> Tensor:
    """Return (n,) class indices for inputs with these pixel sizes in um/px; `UNKNOWN_LABEL` where none fits."""
    classes = [spec.magnification_class(mpp) for mpp in pitches]
    return torch.tensor([losses.UNKNOWN_LABEL if index is None else index for index in classes])
