"""A network that learns: one batch at a time, with all that moves along with it."""

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
from wsisr.models.weights import build, warm_start
from wsisr.models.weights_header import spec_in
from wsisr.training.adversary import Adversary
from wsisr.training.config import TrainConfig
from wsisr.training.objective import Objective, Student
from wsisr.training.optimiser import blend, groups, rate
from wsisr.training.sampler import Batch

DISCRIMINATOR = "discriminator"
"""The adversary's own loss among the terms, which the network does not minimise."""

Terms = dict[str, float]
"""Name of a loss to what it was, times its weight."""


@dataclass(frozen=True, slots=True)
class State:
    """All that moves in a run."""

    network: dict[str, Tensor]
    average: dict[str, Tensor]
    """Moving average of the network's tensors."""
    optimiser: dict[str, Any]
    """As torch's optimisers give it."""
    adversary: dict[str, Any] | None
    """As `Adversary` gives it."""


class Learner:
    """Network, moving average, optimiser and, where there is one, the adversary. Equal on all processes."""

    def __init__(self, config: TrainConfig, spec: ModelSpec, fabric: Fabric) -> None:
        """Fresh, by the run's seed. Raises a `WsisrError` where the network or its losses cannot be."""
        self.schedule, self.spec, self.fabric = config.schedule, spec, fabric
        torch.manual_seed(config.seed)
        self.network = build(spec)
        self.objective = Objective(config.loss, spec, fabric.device)
        self.weight, self.head_start = config.loss.adversarial, config.adversary.head_start
        self.adversary = Adversary(config.adversary, fabric) if self.weight else None
        plain = torch.optim.AdamW(groups(self.network, config.schedule), weight_decay=0.0)
        self.student, self.optimiser = fabric.setup(Student(self.network, pixels=config.loss.of_pixels), plain)
        self.average = _copy(self.network)

    def start_from(self, weights: Sequence[Path]) -> None:
        """Takes the tensors of weights files that fit. Raises `ModelError` for another family's: a part would fit."""
        for path in weights:
            given, own = (spec.trunk or spec.family for spec in (spec_in(path), self.spec))
            if given != own:
                raise ModelError(f"{path}: is no start for a network of the family {own}, but {given}")
        warm_start(self.network, weights)
        self.average = _copy(self.network)

    def learn(self, batch: Batch, step: int) -> Terms:
        """Moves the weights along the gradient of a batch and tells what it cost; `step` steps were done before.

        Each process computes its share, in the parts of the configuration. Where the cost is no number nothing moves.
        """
        share, parts = batch.part(self.fabric.global_rank, self.fabric.world_size), self.schedule.accumulate
        terms: dict[str, Tensor] = {}
        for number in range(parts):
            piece = share.part(number, parts).to(self.fabric.device)
            with self.fabric.no_backward_sync(self.student, enabled=number < parts - 1):
                for name, term in self._learn_part(piece, 1 / parts, step).items():
                    terms[name] = terms.get(name, 0) + term
        told = {name: self._mean(term) for name, term in terms.items()}
        if math.isfinite(sum(told.values())):
            self._move(step)
        return told

    def _mean(self, value: Tensor) -> float:
        """Over all processes."""
        mean = self.fabric.all_reduce(value, reduce_op="mean")
        assert isinstance(mean, Tensor)
        return float(mean)

    def _learn_part(self, piece: Batch, share: float, step: int) -> dict[str, Tensor]:
        """Adds the gradients of a part of a batch; its terms, times its share of the batch."""
        enlarged, logits = self.student(piece.low, piece.alike)
        terms = self.objective(piece, enlarged, logits)
        if self.adversary and enlarged is not None:
            ready = step >= self.head_start
            terms["adversarial"] = self.weight * ready * self.adversary.cost(enlarged, piece.high)
        self.fabric.backward(share * torch.stack(list(terms.values())).sum())
        told = {name: share * term.detach() for name, term in terms.items()}
        if self.adversary and enlarged is not None:
            told[DISCRIMINATOR] = self.adversary.learn(enlarged, piece.high, share)
        return told

    def _move(self, step: int) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = group["share"] * rate(step, self.schedule)
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.adversary:
            self.adversary.move()
        decay = min(self.schedule.ema, (1 + step) / (10 + step))  # a young average forgets faster
        blend(self.average, self.network, decay)

    def state(self) -> State:
        """What `load` takes: as it is, not copied."""
        adversary = self.adversary.state() if self.adversary else None
        return State(self.network.state_dict(), self.average, self.optimiser.state_dict(), adversary)

    def load(self, state: State) -> None:
        """Goes on from a state. Raises torch's errors where it does not fit."""
        self.network.load_state_dict(state.network)
        self.optimiser.load_state_dict(state.optimiser)
        self.average = state.average
        if self.adversary:
            self.adversary.load(state.adversary or {})


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
