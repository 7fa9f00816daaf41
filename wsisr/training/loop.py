"""A training run: an iterator of steps that can be stopped at any of them and goes on exactly there."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from wsisr.errors import ConfigError, ModelError
from wsisr.models.weights import build, save_weights, warm_start
from wsisr.modelspec import ModelSpec
from wsisr.stages import ahead
from wsisr.training.batches import Batches
from wsisr.training.config import TrainConfig
from wsisr.training.optimiser import blend, rate
from wsisr.training.validation import Validation

CHECKPOINT = "checkpoint.pt"
BEST = "best.safetensors"
METRICS = "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step gave."""

    step: int
    """Steps done so far."""
    steps: int
    loss: float
    gain: float | None
    """Validation: dB above Pillow's bicubic, where this step was validated."""


class Run:
    """One training run in a folder of its own: checkpoint, best weights, metrics."""

    def __init__(self, config: TrainConfig, folder: Path, device: torch.device) -> None:
        self.config, self.folder, self.device = config, folder, device
        self.batches = Batches(config.data, config.network.scale, config.seed)
        self.validation = Validation(self.batches.store, config.network.scale)
        self.spec = self._spec()
        torch.manual_seed(config.seed)
        self.network = build(self.spec)
        self.step, self.best = 0, float("-inf")
        checkpoint = folder / CHECKPOINT
        if config.network.warm_start and not checkpoint.exists():
            warm_start(self.network, config.network.warm_start)
        self.network.to(device)
        self.average = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(self.network.parameters(), weight_decay=0.0)
        folder.mkdir(parents=True, exist_ok=True)
        if checkpoint.exists():
            self._resume(checkpoint)

    def __iter__(self) -> Iterator[StepReport]:
        """Runs the remaining steps. Raises `ModelError` on a loss that is not a number; the checkpoint stays good."""
        schedule = self.config.schedule
        for low, high in ahead(self.batches.from_step(self.step), depth=4):
            if self.step >= schedule.steps:
                return
            loss = self._step(low, high)
            last = self.step == schedule.steps
            gain = self._validate() if self.step % schedule.validate_every == 0 or last else None
            if self.step % schedule.save_every == 0 or last:
                self._save()
            yield StepReport(self.step, schedule.steps, loss, gain)

    def _step(self, low: Tensor, high: Tensor) -> float:
        layout = torch.channels_last
        low, high = low.to(self.device, memory_format=layout), high.to(self.device, memory_format=layout)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=has_bf16(self.device)):
            enlarged = self.network(low)
        loss = (enlarged - high).abs().mean()
        value = float(loss.detach())
        if value != value:
            raise ModelError(f"loss is not a number at step {self.step}; lower learning_rate and run again to resume")
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.param_groups[0]["lr"] = rate(self.step, self.config.schedule)
        self.optimiser.step()
        decay = min(self.config.schedule.ema, (1 + self.step) / (10 + self.step))  # a young average forgets faster
        blend(self.average, self.network, decay)
        self.step += 1
        return value

    def _validate(self) -> float:
        network = build(self.spec).to(self.device)
        network.load_state_dict(self.average)
        gain = self.validation.gain(network.eval(), self.device)
        if gain > self.best:
            self.best = gain
            save_weights(self.folder / BEST, self.spec, self.average)
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": self.step, "gain_db": round(gain, 4)}) + "\n")
        return gain

    def _spec(self) -> ModelSpec:
        """The network's spec; its pitches are those of the training pairs."""
        shape, scale = self.config.network, self.config.network.scale
        pitches = [r.mpp * scale for records in self.batches.slides for r in records]
        finest, coarsest = round(min(pitches), 4), round(max(pitches), 4)
        return ModelSpec(shape.family, scale, shape.channels, shape.blocks, shape.window, (finest, coarsest))

    def _save(self) -> None:
        state = {
            "digest": self.config.digest(),
            "step": self.step,
            "best": self.best,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
        }
        partial = self.folder / f"{CHECKPOINT}.partial"
        torch.save(state, partial)
        partial.replace(self.folder / CHECKPOINT)

    def _resume(self, checkpoint: Path) -> None:
        try:
            state = torch.load(checkpoint, map_location=self.device, weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
            raise ModelError(f"{checkpoint}: not a whole checkpoint; remove it to start again") from error
        if state["digest"] != self.config.digest():
            raise ConfigError(f"{checkpoint}: belongs to another configuration; give another folder with --output")
        self.step, self.best = state["step"], state["best"]
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])


def has_bf16(device: torch.device) -> bool:
    """Whether bf16 arithmetic pays on that device: a GPU, or a CPU with AVX-512 BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def trainable(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
