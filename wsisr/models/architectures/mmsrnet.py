"""MMSRNet: any other network here as a trunk, with a branch that classifies the magnification from its features.

Source: Wu, Chen, Peng, Ye, "MMSRNet", BSPC 2023, pii S1746809422008825. Its abstract describes the branch, several
magnifications learned jointly, and RCAN as a replaceable trunk; the branch's layers are this project's choice.

No pixel depends on the branch, so results are independent of the tiling if those of the trunk alone are.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from wsisr.models.architectures.trunk import Trunk
from wsisr.models.spec import ModelSpec


class MagnificationBranch(nn.Module):
    """(n, c, h, w) features to (n, classes) logits: two strided convolutions, the mean over all pixels, two layers."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.third = nn.Linear(channels, channels)
        self.last = nn.Linear(channels, classes)

    def extract_features(self, features: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c, h/4, w/4): the features that a perceptual loss compares."""
        return F.relu(self.second(F.relu(self.first(features))))

    def forward(self, features: Tensor) -> Tensor:
        means = self.extract_features(features).mean(dim=(2, 3))
        logits: Tensor = self.last(F.relu(self.third(means)))
        return logits


class MMSRNet(nn.Module):
    """(n, 3, h, w) sRGB in [0, 1] to (n, 3, h*scale, w*scale), not clipped."""

    def __init__(self, spec: ModelSpec, trunk: Trunk) -> None:
        super().__init__()
        self.scale, self.receptive_field, self.is_local = trunk.scale, trunk.receptive_field, trunk.is_local
        self.spec, self.cell_px = spec, trunk.cell_px
        self.trunk = trunk
        self.branch = MagnificationBranch(spec.channels, len(spec.magnifications))

    def forward(self, x: Tensor) -> Tensor:
        enlarged: Tensor = self.trunk(x)
        return enlarged

    def extract_features(self, x: Tensor) -> Tensor:
        """Map (n, 3, h, w) to the trunk's features (n, channels, h, w)."""
        return self.trunk.extract_features(x)

    def compute_logits(self, x: Tensor) -> Tensor:
        """Map (n, 3, h, w) to the logits of the magnifications (n, classes)."""
        logits: Tensor = self.branch(self.extract_features(x))
        return logits
