"""The other player of adversarial training: a discriminator that learns beside the network."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from wsisr.training import losses
from wsisr.training.config import AdversaryConfig
from wsisr.training.discriminators import DISCRIMINATORS

BETAS = (0.0, 0.99)
"""Of Adam's. Without momentum the two players circle each other less."""


class Adversary:
    """A discriminator and what moves it."""

    def __init__(self, config: AdversaryConfig, fabric: Fabric) -> None:
        self.fabric = fabric
        self.network = DISCRIMINATORS[config.judge](config.channels)
        plain = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate, betas=BETAS)
        self.judge, self.optimiser = fabric.setup(self.network, plain)

    def cost(self, enlarged: Tensor, high: Tensor) -> Tensor:
        """Cost of an output that can be told from the truth; no gradient reaches the discriminator."""
        self.network.requires_grad_(False)
        with torch.no_grad():
            real = self.judge(high)
        cost = losses.adversarial(real, self.judge(enlarged))
        self.network.requires_grad_(True)
        return cost

    def learn(self, enlarged: Tensor, high: Tensor, share: float) -> Tensor:
        """Adds the gradient of a part of a batch, of that share."""
        loss = losses.discriminating(self.judge(high), self.judge(enlarged.detach()))
        self.fabric.backward(share * loss)
        return share * loss.detach()

    def move(self) -> None:
        """One step along the gradients."""
        self.optimiser.step()
        self.optimiser.zero_grad()

    def state(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Takes up what `state` gave. Raises torch's errors where it does not fit."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
