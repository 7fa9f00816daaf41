"""The training step: forward pass, losses, backward pass, optimiser and moving average of one batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from wsisr.errors import ModelError
from wsisr.models.spec import ModelSpec
from wsisr.models.weights import build_network, warm_start
from wsisr.models.weights_header import read_model_spec
from wsisr.training.adversary import Adversary
from wsisr.training.config import TrainConfig
from wsisr.training.objective import Objective, TrainingModel
from wsisr.training.optimiser import build_parameter_groups, scheduled_learning_rate, update_moving_average
from wsisr.training.sampler import Batch

DISCRIMINATOR_TERM = "discriminator"
"""Key of the discriminator's own loss among the terms; the network does not minimise it."""

LossTerms = dict[str, float]
"""Maps the name of each loss to its value times its weight."""


@dataclass(frozen=True, slots=True)
class TrainingState:
    """Everything that changes during a run. The field names are keys of a checkpoint."""

    network: dict[str, Tensor]
    average: dict[str, Tensor]
    """Moving average of the network's tensors."""
    optimiser: dict[str, Any]
    """State dict of the optimiser."""
    adversary: dict[str, Any] | None
    """From `Adversary.export_state`; None without an adversarial loss."""


class Trainer:
    """Network, moving average, optimiser and, with an adversarial loss, the adversary. Equal on all processes."""

    def __init__(self, config: TrainConfig, spec: ModelSpec, fabric: Fabric) -> None:
        """Initialise weights from the run's seed. Raises a `WsisrError` if the network or its losses are invalid."""
        self.schedule, self.spec, self.fabric = config.schedule, spec, fabric
        torch.manual_seed(config.seed)
        self.network = build_network(spec)
        self.objective = Objective(config.loss, spec, fabric.device)
        self.adversarial_weight, self.head_start = config.loss.adversarial, config.adversary.head_start
        self.adversary = Adversary(config.adversary, fabric) if self.adversarial_weight else None
        optimiser = torch.optim.AdamW(build_parameter_groups(self.network, config.schedule), weight_decay=0.0)
        self.model, self.optimiser = fabric.setup(
            TrainingModel(self.network, enlarges=config.loss.trains_pixels), optimiser
        )
        self.average = _clone_tensors(self.network)

    def load_warm_start(self, weights: Sequence[Path]) -> None:
        """Start from the tensors of weights files that fit.

        Raises `ModelError` for weights of another family, of which some tensors would fit by accident.
        """
        for path in weights:
            given, expected = (spec.trunk or spec.family for spec in (read_model_spec(path), self.spec))
            if given != expected:
                raise ModelError(
                    f"{path}: a network of the family {expected} cannot start from weights of the family {given}"
                )
        warm_start(self.network, weights)
        self.average = _clone_tensors(self.network)

    def train_batch(self, batch: Batch, step: int) -> LossTerms:
        """Take one training step and return the losses; `step` is the number of steps done before.

        Each process computes its share of the batch in `accumulate` parts. A loss that is not finite changes no weight.
        """
        share, parts = batch.take_part(self.fabric.global_rank, self.fabric.world_size), self.schedule.accumulate
        terms: dict[str, Tensor] = {}
        for number in range(parts):
            part = share.take_part(number, parts).to(self.fabric.device)
            with self.fabric.no_backward_sync(self.model, enabled=number < parts - 1):
                for name, term in self._accumulate_part(part, 1 / parts, step).items():
                    terms[name] = terms.get(name, 0) + term
        means = {name: self._average_over_processes(term) for name, term in terms.items()}
        if math.isfinite(sum(means.values())):
            self._update_weights(step)
        return means

    def _average_over_processes(self, value: Tensor) -> float:
        mean = self.fabric.all_reduce(value, reduce_op="mean")
        assert isinstance(mean, Tensor)
        return float(mean)

    def _accumulate_part(self, part: Batch, share: float, step: int) -> dict[str, Tensor]:
        """Accumulate the gradients of a part of a batch; return its losses times its share of the batch."""
        enlarged, logits = self.model(part.low, part.branch_input)
        terms = self.objective(part, enlarged, logits)
        if self.adversary and enlarged is not None:
            ready = step >= self.head_start
            terms["adversarial"] = (
                self.adversarial_weight * ready * self.adversary.compute_generator_loss(enlarged, part.high)
            )
        self.fabric.backward(share * torch.stack(list(terms.values())).sum())
        values = {name: share * term.detach() for name, term in terms.items()}
        if self.adversary and enlarged is not None:
            values[DISCRIMINATOR_TERM] = self.adversary.accumulate_gradients(enlarged, part.high, share)
        return values

    def _update_weights(self, step: int) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = group["share"] * scheduled_learning_rate(step, self.schedule)
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.adversary:
            self.adversary.apply_gradients()
        # Early on the average is shorter, so that the initial weights are soon forgotten.
        decay = min(self.schedule.ema, (1 + step) / (10 + step))
        update_moving_average(self.average, self.network, decay)

    def export_state(self) -> TrainingState:
        """Return what `load_state` takes: the tensors themselves, not copies."""
        adversary = self.adversary.export_state() if self.adversary else None
        return TrainingState(self.network.state_dict(), self.average, self.optimiser.state_dict(), adversary)

    def load_state(self, state: TrainingState) -> None:
        """Continue from a state. Raises torch's errors if it does not fit."""
        self.network.load_state_dict(state.network)
        self.optimiser.load_state_dict(state.optimiser)
        self.average = state.average
        if self.adversary:
            self.adversary.load_state(state.adversary or {})


def _clone_tensors(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
