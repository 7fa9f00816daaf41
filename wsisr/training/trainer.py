"""The training step: forward pass, losses, backward pass, optimiser and moving average of one batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from wsisr.errors import ModelError
from wsisr.models.spec import ModelSpec
from wsisr.models.weights import build_network, find_fitting_tensors
from wsisr.models.weights_header import read_model_spec
from wsisr.training.adversary import Adversary
from wsisr.training.config import TrainConfig
from wsisr.training.cuda_graphs import StepFunction
from wsisr.training.folding import fold_weights
from wsisr.training.objective import Objective, StepInputs, TrainingModel, label_magnifications
from wsisr.training.optimiser import (
    adapt_optimiser_state,
    build_optimiser,
    learning_rate_at,
    moving_average_weight,
    set_learning_rates,
    update_moving_average,
)
from wsisr.training.reparameterisation import add_kernel_branches, load_merged_tensors, read_merged_tensors
from wsisr.training.sampler import Batch

DISCRIMINATOR_TERM = "discriminator"
"""Key of the discriminator's own loss among the terms; the network does not minimise it."""

ADVERSARIAL_TERMS = ("adversarial", DISCRIMINATOR_TERM)
"""Keys of the losses that measure the network against the discriminator, which changes with every step."""

LossTerms = dict[str, float]
"""Maps the name of each loss to its value times its weight."""


@dataclass(frozen=True, slots=True)
class TrainingState:
    """Everything that changes during a run. The field names are keys of a checkpoint."""

    network: dict[str, Tensor]
    average: dict[str, Tensor]
    """Moving average of the network's tensors, of its kernels as they are merged."""
    optimiser: dict[str, Any]
    """State dict of the optimiser."""
    adversary: dict[str, Any] | None
    """From `Adversary.export_state`; None without an adversarial loss."""


class Trainer:
    """Network, moving average, optimiser and, with an adversarial loss, the adversary. Equal on all processes."""

    def __init__(
        self,
        config: TrainConfig,
        spec: ModelSpec,
        fabric: Fabric,
        capture: Callable[[StepFunction], StepFunction] | None = None,
    ) -> None:
        """Initialise weights from the run's seed.

        `capture`, such as `GraphedCall`, turns the two functions of a step, which compute the gradients and update the
        weights, into ones that replay them. Raises a `WsisrError` if the network or its losses are invalid.
        """
        self.schedule, self.spec, self.fabric = config.schedule, spec, fabric
        self._compute_gradients: StepFunction = self._accumulate_gradients
        self._apply_gradients: StepFunction = self._update_weights
        if capture is not None:
            self._compute_gradients, self._apply_gradients = map(
                capture, (self._compute_gradients, self._apply_gradients)
            )
        # The seed determines the initial weights of network and discriminator, built in this order.
        torch.manual_seed(config.seed)
        self.network = build_network(spec)
        if config.network.reparameterise:
            add_kernel_branches(self.network)
        self.objective = Objective(config.loss, spec, fabric.device)
        self.adversarial_weight, self.head_start = config.loss.adversarial, config.adversary.head_start
        self.adversary = Adversary(config.adversary, fabric) if self.adversarial_weight else None
        optimiser = build_optimiser(self.network, config.schedule, fabric.device, captured=capture is not None)
        self.model, self.optimiser = fabric.setup(
            TrainingModel(self.network, enlarges=config.loss.trains_pixels), optimiser
        )
        self._restart_average()
        self.average_weight: float | Tensor = 0.0
        if capture is not None and fabric.device.type == "cuda":
            self.average_weight = torch.zeros((), device=fabric.device)

    def load_warm_start(self, weights: Sequence[Path], folding_inputs: Iterable[Tensor] | None = None) -> str | None:
        """Start from the tensors of weights files that fit; with `folding_inputs`, fold their attention into them.

        Return a warning if the files are of another scale, so that some tensors do not fit.

        Raises `ModelError` for weights of another family, of which some tensors would fit by accident.
        """
        if folding_inputs is not None:
            load_merged_tensors(self.network, fold_weights(weights, self.spec, folding_inputs))
            self._restart_average()
            return None
        for path in weights:
            given, expected = (spec.trunk or spec.family for spec in (read_model_spec(path), self.spec))
            if given != expected:
                raise ModelError(
                    f"{path}: a network of the family {expected} cannot start from weights of the family {given}"
                )
        own = read_merged_tensors(self.network)
        fitting = find_fitting_tensors(own, weights)
        load_merged_tensors(self.network, own | fitting)
        self._restart_average()
        scale = read_model_spec(weights[0]).scale
        if scale == self.spec.scale:
            return None
        return (
            f"{weights[0]}: is a network for scale {scale}, this one is for {self.spec.scale}: "
            f"{len(fitting)} of {len(own)} tensors fit, the others begin untrained"
        )

    def train_batch(self, batch: Batch, step: int) -> LossTerms:
        """Take one training step and return the losses; `step` is the number of steps done before.

        Each process computes its share of the batch in `accumulate` parts. A loss that is not finite changes no weight.
        """
        share, parts = batch.take_part(self.fabric.global_rank, self.fabric.world_size), self.schedule.accumulate
        self._is_generator_trained = step >= self.head_start
        terms: dict[str, Tensor] = {}
        for number in range(parts):
            inputs = self._move_to_device(share.take_part(number, parts))
            with self.fabric.no_backward_sync(self.model, enabled=number < parts - 1):
                for name, term in self._compute_gradients(*inputs).items():
                    terms[name] = terms.get(name, 0) + term
        means = {name: self._average_over_processes(term) for name, term in terms.items()}
        if math.isfinite(sum(means.values())):
            set_learning_rates(self.optimiser.param_groups, learning_rate_at(step, self.schedule))
            self._set_average_weight(moving_average_weight(step, self.schedule.ema))
            self._apply_gradients()
        return means

    def _restart_average(self) -> None:
        self.average = {name: tensor.clone() for name, tensor in read_merged_tensors(self.network).items()}

    def _set_average_weight(self, weight: float) -> None:
        if isinstance(self.average_weight, Tensor):
            self.average_weight.fill_(weight)  # in place: a CUDA graph reads it there
        else:
            self.average_weight = weight

    def _move_to_device(self, part: Batch) -> StepInputs:
        part = part.to(self.fabric.device)
        classifies = part.branch_input is not None
        labels = label_magnifications(self.spec, part.mpp).to(self.fabric.device) if classifies else None
        low = part.low
        if self.fabric.device.type == "cpu":
            low = low.contiguous(memory_format=torch.channels_last)  # a step takes 0.83 of the time, a `half` in bf16
        return StepInputs(low, part.high, part.branch_input, labels)

    def _average_over_processes(self, value: Tensor) -> float:
        mean = self.fabric.all_reduce(value, reduce_op="mean")
        assert isinstance(mean, Tensor)
        return float(mean)

    def _accumulate_gradients(self, *tensors: Tensor) -> dict[str, Tensor]:
        """Accumulate the gradients of a part of a batch; return its losses times its share of the batch."""
        inputs, share = StepInputs(*tensors), 1 / self.schedule.accumulate
        enlarged, logits = self.model(inputs.low, inputs.branch_input)
        terms = self.objective(inputs, enlarged, logits)
        if self.adversary and enlarged is not None:
            weight = self.adversarial_weight * self._is_generator_trained
            terms["adversarial"] = weight * self.adversary.compute_generator_loss(enlarged, inputs.high)
        self.fabric.backward(share * torch.stack(list(terms.values())).sum())
        values = {name: share * term.detach() for name, term in terms.items()}
        if self.adversary and enlarged is not None:
            values[DISCRIMINATOR_TERM] = self.adversary.accumulate_gradients(enlarged, inputs.high, share)
        return values

    def _update_weights(self) -> dict[str, Tensor]:
        """Take one optimiser step along the accumulated gradients; return nothing, as a `StepFunction`."""
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.adversary:
            self.adversary.apply_gradients()
        update_moving_average(self.average, read_merged_tensors(self.network), self.average_weight)
        return {}

    def export_state(self) -> TrainingState:
        """Return what `load_state` takes: the tensors themselves, not copies."""
        adversary = self.adversary.export_state() if self.adversary else None
        return TrainingState(self.network.state_dict(), self.average, self.optimiser.state_dict(), adversary)

    def load_state(self, state: TrainingState) -> None:
        """Continue from a state. Raises torch's errors if it does not fit."""
        self.network.load_state_dict(state.network)
        self.optimiser.load_state_dict(adapt_optimiser_state(state.optimiser, self.optimiser.param_groups))
        self.average = state.average
        if self.adversary:
            self.adversary.load_state(state.adversary or {})
