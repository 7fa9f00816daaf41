"""The losses of a configuration, as one answer: each term by its name, already times its weight."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wsisr.models.architectures.mmsrnet import MMSRNet
from wsisr.models.spec import ModelSpec
from wsisr.training import losses
from wsisr.training.config import LossConfig
from wsisr.training.features import features_of
from wsisr.training.sampler import Batch

OF_PAIRS = {
    "l1": losses.l1,
    "charbonnier": losses.charbonnier,
    "ssim": losses.ssim,
    "fourier": losses.fourier,
}
"""Those that compare an output with the truth, and need nothing else."""


class Student(nn.Module):
    """A network as it is trained: its pixels and, where it classifies, its logits, in one call."""

    def __init__(self, network: nn.Module, *, pixels: bool) -> None:
        """Without `pixels`, where no loss asks for them, only its branch is at work."""
        super().__init__()
        self.network, self.pixels = network, pixels

    def forward(self, x: Tensor, alike: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """`x`, (n, 3, h, w), to enlarged pixels; the first quarter of `alike`, the same compressed, to logits.

        More of them would cost more than they teach, for each goes through the trunk once again. Where only the branch
        learns, all of them.
        """
        enlarged = self.network(x) if self.pixels else None
        if alike is None or not isinstance(self.network, MMSRNet):
            return enlarged, None
        return enlarged, self.network.logits(alike[: -(-len(alike) // 4)] if self.pixels else alike)


class Objective:
    """What a batch costs a network."""

    def __init__(self, config: LossConfig, spec: ModelSpec, device: torch.device) -> None:
        """Raises `ModelError` or `ConfigError` where the features of a perceptual loss cannot be had."""
        self.weights, self.spec = config.weights, spec
        self.features = features_of(config.features, device) if config.features else None

    def __call__(self, batch: Batch, enlarged: Tensor | None, logits: Tensor | None) -> dict[str, Tensor]:
        """Weighted terms; without the adversarial one, for which a discriminator is asked."""
        terms = {} if enlarged is None else self._of_pixels(batch, enlarged)
        if logits is not None:
            terms["classification"] = losses.classification(
                logits, labels(self.spec, batch.mpp[: len(logits)]).to(logits.device)
            )
        return {name: self.weights[name] * term for name, term in terms.items()}

    def _of_pixels(self, batch: Batch, enlarged: Tensor) -> dict[str, Tensor]:
        terms = {name: loss(enlarged, batch.high) for name, loss in OF_PAIRS.items() if name in self.weights}
        if "consistency" in self.weights:
            terms["consistency"] = losses.consistency(enlarged, batch.low)
        if self.features is not None:
            terms["perceptual"] = losses.perceptual(self.features(enlarged), self.features(batch.high))
        return terms


def labels(spec: ModelSpec, pitches: Sequence[float]) -> Tensor:
    """(n,): index of the magnification of inputs of these pitches in um/px, `UNKNOWN` where it is none."""
    classes = [spec.class_of(mpp) for mpp in pitches]
    return torch.tensor([losses.UNKNOWN if each is None else each for each in classes])
