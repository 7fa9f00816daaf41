"""The discriminator of adversarial training, with its own optimiser."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from wsisr.training import losses
from wsisr.training.config import AdversaryConfig
from wsisr.training.discriminators import DISCRIMINATORS

ADAM_BETAS = (0.0, 0.99)
"""Adam's decay rates. Without momentum, generator and discriminator oscillate less around each other."""


class Adversary:
    """A discriminator that learns to tell the network's output from the truth, and its optimiser."""

    def __init__(self, config: AdversaryConfig, fabric: Fabric) -> None:
        self.fabric = fabric
        self.network = DISCRIMINATORS[config.judge](config.channels)
        plain = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate, betas=ADAM_BETAS)
        self.discriminator, self.optimiser = fabric.setup(self.network, plain)

    def compute_generator_loss(self, enlarged: Tensor, high: Tensor) -> Tensor:
        """Return the adversarial loss of the network's output; no gradient reaches the discriminator."""
        # Frozen, so that the backward pass computes gradients of the output only, not of the discriminator's weights.
        self.network.requires_grad_(False)
        with torch.no_grad():
            real = self.discriminator(high)
        loss = losses.adversarial_loss(real, self.discriminator(enlarged))
        self.network.requires_grad_(True)
        return loss

    def accumulate_gradients(self, enlarged: Tensor, high: Tensor, share: float) -> Tensor:
        """Add the discriminator's gradients of a part that is `share` of a batch; return its loss times `share`."""
        loss = losses.discriminator_loss(self.discriminator(high), self.discriminator(enlarged.detach()))
        self.fabric.backward(share * loss)
        return share * loss.detach()

    def apply_gradients(self) -> None:
        """Take one optimiser step along the accumulated gradients."""
        self.optimiser.step()
        self.optimiser.zero_grad()

    def export_state(self) -> dict[str, Any]:
        """Return what `load_state` takes: the tensors themselves, not copies."""
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `export_state` returned. Raises torch's errors if it does not fit."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
