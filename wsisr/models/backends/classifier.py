"""The classification branch of an MMSRNet in PyTorch as a `MagnificationClassifier`."""

from __future__ import annotations

import numpy as np
import torch

from wsisr.imaging.pixels import RgbBatch
from wsisr.models.architectures.mmsrnet import MMSRNet
from wsisr.models.magnification import ClassProbabilities
from wsisr.models.spec import ModelSpec


class TorchMagnificationClassifier:
    """One network on one device, in fp32."""

    def __init__(self, network: MMSRNet, device: torch.device) -> None:
        self.network, self.device = network.to(device), device

    @property
    def spec(self) -> ModelSpec:
        return self.network.spec

    @torch.inference_mode()
    def __call__(self, tiles: RgbBatch) -> ClassProbabilities:
        """Return the probabilities for (n, h, w, 3) sRGB, averaged over the tiles; one at a time, to save memory."""
        pixels = torch.from_numpy(np.ascontiguousarray(tiles)).permute(0, 3, 1, 2)
        logits = [self.network.compute_logits(tile[None].to(self.device).float() / 255) for tile in pixels]
        probabilities: ClassProbabilities = torch.cat(logits).double().softmax(dim=1).mean(dim=0).cpu().numpy()
        return probabilities
