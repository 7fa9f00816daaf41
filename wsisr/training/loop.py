"""A training run: an iterator of steps that can be stopped at any of them and goes on exactly there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from wsisr.errors import ModelError
from wsisr.files import disk_errors
from wsisr.models.precision import has_bf16
from wsisr.models.weights import build, save_weights, warm_start
from wsisr.stages import ahead
from wsisr.training import journal
from wsisr.training.batches import Batches
from wsisr.training.checkpoint import Checkpoint, Owner, advice, load_checkpoint, save_checkpoint
from wsisr.training.config import TrainConfig
from wsisr.training.optimiser import blend, rate
from wsisr.training.validation import Validation

CHECKPOINT = "checkpoint.pt"
BEST = "best.safetensors"
LAST = "last.safetensors"
METRICS = "metrics.jsonl"

BATCHES_AHEAD = 4


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
    """One training run in a folder of its own: checkpoint, metrics, and weights, the best and in the end the last.

    All weights that are kept are the moving average. On the CPU the same configuration, dataset and number of threads
    give the same bytes, however often the run was cut off.
    """

    def __init__(self, config: TrainConfig, folder: Path, device: torch.device) -> None:
        """Starts a run, or takes up the one in the folder. Raises a `WsisrError` where that cannot be."""
        self.config, self.folder, self.device = config, folder, device
        self.batches = Batches(config.data, config.network.scale, config.seed)
        self.validation = Validation(self.batches.store, config.network.scale)
        self.spec = config.network.spec(self._pitches())
        self.step, self.best = 0, float("-inf")
        torch.manual_seed(config.seed)
        self.network = build(self.spec)
        with disk_errors(folder):
            self.resumed = self._checkpoint.exists()
        if config.network.warm_start and not self.resumed:
            warm_start(self.network, config.network.warm_start)
        self.network.to(device)
        self.average = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(self.network.parameters(), weight_decay=0.0)
        if self.resumed:
            self._resume()
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        journal.rewind(folder / METRICS, self.step)

    def __iter__(self) -> Iterator[StepReport]:
        """Runs the remaining steps. Raises `ModelError` on a loss that is not a number; the checkpoint stays good."""
        schedule = self.config.schedule
        remaining = islice(self.batches.from_step(self.step), schedule.steps - self.step)
        with closing(ahead(remaining, BATCHES_AHEAD)) as batches:
            for low, high in batches:
                loss = self._step(low, high)
                last = self.step == schedule.steps
                gain = self._validate(loss) if last or self.step % schedule.validate_every == 0 else None
                if last:
                    save_weights(self.folder / LAST, self.spec, self.average)
                if gain is not None or self.step % schedule.save_every == 0:
                    self.save()
                yield StepReport(self.step, schedule.steps, loss, gain)

    def save(self) -> None:
        """Writes the checkpoint of the step just done. The run also does so by itself, every `save_every` steps."""
        optimiser = self.optimiser.state_dict()
        state = Checkpoint(self.step, self.best, self.network.state_dict(), self.average, optimiser)
        save_checkpoint(self._checkpoint, self._owner, state)

    @property
    def _checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    @property
    def _owner(self) -> Owner:
        return Owner(self.config.digest(), self.batches.store.digest)

    def _step(self, low: Tensor, high: Tensor) -> float:
        layout = torch.channels_last
        low, high = low.to(self.device, memory_format=layout), high.to(self.device, memory_format=layout)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=has_bf16(self.device)):
            enlarged = self.network(low)
        loss = (enlarged - high).abs().mean()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ModelError(f"loss is not a number in step {self.step + 1}; {advice(self._checkpoint)}")
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.param_groups[0]["lr"] = rate(self.step, self.config.schedule)
        self.optimiser.step()
        decay = min(self.config.schedule.ema, (1 + self.step) / (10 + self.step))  # a young average forgets faster
        blend(self.average, self.network, decay)
        self.step += 1
        return value

    def _validate(self, loss: float) -> float:
        network = build(self.spec).to(self.device)
        network.load_state_dict(self.average)
        gain = self.validation.gain(network.eval(), self.device)
        if gain > self.best:
            self.best = gain
            save_weights(self.folder / BEST, self.spec, self.average)
        journal.note(self.folder / METRICS, {"step": self.step, "loss": round(loss, 6), "gain_db": round(gain, 4)})
        return gain

    def _pitches(self) -> tuple[float, float]:
        """Finest and coarsest pitch of the low resolution, in um/px."""
        pitches = [record.mpp * self.config.network.scale for records in self.batches.slides for record in records]
        return round(min(pitches), 4), round(max(pitches), 4)

    def _resume(self) -> None:
        state = load_checkpoint(self._checkpoint, self._owner, self.device)
        try:
            self.network.load_state_dict(state.network)
            self.optimiser.load_state_dict(state.optimiser)
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelError(f"{self._checkpoint}: does not fit the network; remove it to start again") from error
        self.step, self.best, self.average = state.step, state.best, state.average


def trainable(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
