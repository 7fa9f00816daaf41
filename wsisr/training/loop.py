"""A training run: an iterator of steps that can be stopped at any of them and goes on exactly there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save as save_tensors
from torch import nn

from wsisr.errors import ConfigError, ModelError
from wsisr.files import disk_errors, write_whole
from wsisr.models.spec import ModelSpec
from wsisr.models.weights import build, save_weights
from wsisr.parallel.cpu import cores
from wsisr.parallel.pipeline import mapped
from wsisr.training import metrics_log
from wsisr.training.checkpoint import Checkpoint, Owner, advice, load_checkpoint, save_checkpoint
from wsisr.training.config import TrainConfig
from wsisr.training.distributed import fabric_on
from wsisr.training.pictures import curve, save_picture
from wsisr.training.sampler import Batch, Batches
from wsisr.training.trainer import DISCRIMINATOR, Learner, Terms
from wsisr.training.validation import Findings, Goal, Validation

CHECKPOINT = "checkpoint.pt"
BEST = "best.safetensors"
LAST = "last.safetensors"
METRICS = "metrics.jsonl"

SAMPLES = "samples"
CURVE = "curve.png"

BATCHES_AHEAD = 4


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step gave."""

    step: int
    """Steps done so far."""
    steps: int
    loss: float
    """What the network's losses add up to."""
    terms: Terms
    """Each of them, and the discriminator's own."""
    found: Findings | None
    """Validation, where this step was validated."""

    @property
    def gain(self) -> float | None:
        """Validation: dB above Pillow's bicubic."""
        return None if self.found is None else self.found.gain


class Run:
    """One training run in a folder of its own: checkpoint, metrics, pictures, the best weights and at last the last.

    All weights that are kept are the moving average. On the CPU the same configuration, dataset and number of threads
    give the same bytes, however often the run was cut off. Of many processes, the first writes and validates.
    """

    def __init__(self, config: TrainConfig, folder: Path, device: torch.device) -> None:
        """Starts a run, or takes up the one in the folder. Raises a `WsisrError` where that cannot be."""
        self.config, self.folder = config, folder
        classified = bool(config.network.magnifications)
        self.batches = Batches(config.data, config.network.scale, config.seed, classified=classified)
        self.validation = Validation(self.batches.store, config.network.scale)
        self.spec = self._spec()
        self.step, self.best = 0, float("-inf")
        self.fabric = fabric_on(device, config.data.batch, config.schedule.accumulate)
        self.device = self.fabric.device
        self.learner = Learner(config, self.spec, self.fabric)
        with disk_errors(folder):
            self.resumed = self._checkpoint.exists()
        if self.resumed:
            self._resume()
        elif config.network.warm_start:
            self.learner.start_from(config.network.warm_start)
        if self.first:
            with disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            metrics_log.rewind(folder / METRICS, self.step if self.resumed else -1)

    def __iter__(self) -> Iterator[StepReport]:
        """Runs the remaining steps. Raises `ModelError` on a loss that is not a number; the checkpoint stays good.

        What is given as a start is validated, and kept as the best for as long as no step is better.
        """
        schedule = self.config.schedule
        if self.step == 0 and self.config.network.warm_start:
            self._validate(None)
        remaining, loaders = range(self.step, schedule.steps), loading_threads(self.device)
        with closing(mapped(self.batches.of_step, remaining, BATCHES_AHEAD * loaders, loaders)) as batches:
            for batch in batches:
                terms = self.learner.learn(batch, self.step)
                loss = sum(term for name, term in terms.items() if name != DISCRIMINATOR)
                if not math.isfinite(sum(terms.values())):
                    raise self._failure(batch)
                self.step += 1
                last = self.step == schedule.steps
                found = self._validate(loss) if last or self.step % schedule.validate_every == 0 else None
                if last:
                    self._finish()
                if found or self.step % schedule.save_every == 0:
                    self.save()
                yield StepReport(self.step, schedule.steps, loss, terms, found)

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return bool(self.fabric.is_global_zero)

    @property
    def start(self) -> metrics_log.Entry | None:
        """What validation found before the first step, where the run began from other weights."""
        entries = metrics_log.read(self.folder / METRICS)
        return entries[0] if entries and entries[0]["step"] == 0 else None

    @property
    def goal(self) -> Goal:
        """What the best weights are best at."""
        if self.learner.adversary is not None:
            return "texture"
        return "gain" if self.config.loss.of_pixels else "accuracy"

    def save(self) -> None:
        """Writes the checkpoint of the step just done. The run also does so by itself, every `save_every` steps."""
        if self.first:
            save_checkpoint(self._checkpoint, self._owner, Checkpoint(self.step, self.best, self.learner.state()))

    @property
    def _checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    @property
    def _owner(self) -> Owner:
        return Owner(self.config.digest(), self.batches.store.digest)

    def _validate(self, loss: float | None) -> Findings:
        """Scores the average, keeps it where it is the best, notes it and draws it."""
        network = build(self.spec).to(self.device)
        network.load_state_dict(self.learner.average)
        found = self.validation.findings(network.eval(), self.device)
        merit = found.merit(self.goal)
        better, self.best = merit > self.best, max(merit, self.best)
        if self.first:
            if better:
                save_weights(self.folder / BEST, self.spec, self.learner.average)
            metrics_log.note(self.folder / METRICS, _entry(self.step, loss, found))
            save_picture(
                self.folder / SAMPLES / f"step-{self.step:07}.png", self.validation.strip(network, self.device)
            )
        return found

    def _finish(self) -> None:
        if self.first:
            save_weights(self.folder / LAST, self.spec, self.learner.average)
            save_picture(self.folder / CURVE, curve(metrics_log.read(self.folder / METRICS)))

    def _failure(self, batch: Batch) -> ModelError:
        """The batch on which the loss ran away is kept, and the error says where."""
        kept = self.folder / f"failed-step-{self.step + 1}.safetensors"
        if self.first:
            tensors = {"low": batch.low.contiguous(), "high": batch.high.contiguous(), "mpp": torch.tensor(batch.mpp)}
            write_whole(kept, [save_tensors(tensors)])
        return ModelError(
            f"loss is not a number in step {self.step + 1}, whose batch is kept in {kept}; {advice(self._checkpoint)}"
        )

    def _spec(self) -> ModelSpec:
        """The network's, with the finest and coarsest pitch of the low resolution, in um/px.

        Raises `ConfigError` where a magnification that it is to tell occurs nowhere.
        """
        pitches = [record.mpp_lr for records in self.batches.slides for record in records]
        spec = self.config.network.spec((round(min(pitches), 4), round(max(pitches), 4)))
        classes = {spec.class_of(mpp) for mpp in pitches}
        absent = [f"{each:g}x" for number, each in enumerate(spec.magnifications) if number not in classes]
        if absent:
            raise ConfigError(
                f"{self.config.data.dataset}: no training pair at {', '.join(absent)}, where the input has "
                f"{spec.input_mpp[0]:g} to {spec.input_mpp[1]:g} um/px; choose other magnifications or slides"
            )
        return spec

    def _resume(self) -> None:
        found = load_checkpoint(self._checkpoint, self._owner, self.device)
        try:
            self.learner.load(found.state)
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelError(f"{self._checkpoint}: does not fit the network; remove it to start again") from error
        self.step, self.best = found.step, found.best


def loading_threads(device: torch.device) -> int:
    """How many make batches: on a GPU as many as there are cores for, up to 16; on a CPU one, beside the training."""
    return min(16, cores()) if device.type == "cuda" else 1


def _entry(step: int, loss: float | None, found: Findings) -> metrics_log.Entry:
    cost = {} if loss is None else {"loss": round(loss, 6)}
    perhaps = {"accuracy": found.accuracy, "texture": found.texture}
    told = {name: round(value, 4) for name, value in perhaps.items() if value is not None}
    return {"step": step} | cost | {"gain_db": round(found.gain, 4)} | told


def trainable(network: nn.Module) -> int:
    """Number of parameters that learn."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
