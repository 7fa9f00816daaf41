"""A training run: an iterator of steps that can be stopped after any of them and resumes exactly there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from wsisr.errors import ConfigError, ModelError
from wsisr.files import translate_disk_errors, write_atomically
from wsisr.models.catalog import RUN_LOG
from wsisr.models.spec import ModelSpec
from wsisr.models.weights import build_network, save_weights
from wsisr.training import metrics_log
from wsisr.training.checkpoint import Checkpoint, CheckpointKey, divergence_advice, load_checkpoint, save_checkpoint
from wsisr.training.config import TrainConfig
from wsisr.training.config_keys import flatten_config
from wsisr.training.cuda_graphs import GraphedCall, find_cuda_graph_obstacle
from wsisr.training.distributed import launch_fabric
from wsisr.training.loading import load_batches
from wsisr.training.loss_watch import WINDOW_STEPS, LossWatch
from wsisr.training.pictures import add_captions, draw_learning_curve, save_picture
from wsisr.training.sampler import Batch, BatchSampler
from wsisr.training.trainer import ADVERSARIAL_TERMS, DISCRIMINATOR_TERM, LossTerms, Trainer
from wsisr.training.validation import COMPARISON_COLUMNS, SelectionGoal, Validation, ValidationScores

CHECKPOINT_FILE = "checkpoint.pt"
BEST_WEIGHTS_FILE = "best.safetensors"
LAST_WEIGHTS_FILE = "last.safetensors"
METRICS_FILE = RUN_LOG

SAMPLES_FOLDER = "samples"
CURVE_FILE = "curve.png"

FOLDING_BATCHES = 32
"""Batches over which gates are averaged; 512 crops where a batch has 16."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """Result of one step."""

    step: int
    """Steps done so far."""
    steps: int
    loss: float
    """Sum of the network's weighted losses."""
    terms: LossTerms
    """Each of these losses, and the discriminator's own."""
    validation: ValidationScores | None
    """Scores, if this step was validated."""

    @property
    def gain_db(self) -> float | None:
        """PSNR gain over Pillow's bicubic in dB, if this step was validated."""
        return None if self.validation is None else self.validation.gain_db


class TrainingRun:
    """One training run in its own folder: checkpoint, metrics, pictures, best weights and, at the end, last weights.

    All saved weights are the moving average. On the CPU the same configuration, dataset and number of threads give the
    same bytes, however often the run was interrupted. Of several processes, only the main one writes.
    """

    def __init__(
        self, config: TrainConfig, folder: Path, device: torch.device, start_digests: Sequence[str] = ()
    ) -> None:
        """Start a run, resume the one in `folder`, or prolong it if it is finished and `config` has more steps.

        Raises a `WsisrError` if none of that is possible; what differs from the run in `folder` are its notes.

        `start_digests` are those of the earlier stages from whose weights the run starts.
        """
        self.config, self.folder, self.steps = config, folder, config.schedule.last_step
        self._digest, self._config_keys = config.compute_digest(start_digests), flatten_config(config, start_digests)
        classified = bool(config.network.magnifications)
        self.sampler = BatchSampler(config.data, config.network.scale, config.seed, with_branch_input=classified)
        self.validation = Validation(self.sampler.store, config.network.scale)
        self.spec = self._build_spec()
        self.step, self.best_score, self.losses = 0, float("-inf"), LossWatch()
        self.fabric = launch_fabric(device, config.data.batch, config.schedule.accumulate)
        self.device = self.fabric.device
        obstacle = find_cuda_graph_obstacle(config, self.device, self.fabric.world_size)
        uses_cuda_graph = config.schedule.cuda_graphs and obstacle is None
        self.warnings = [f"cuda_graphs is not used: {obstacle}"] if config.schedule.cuda_graphs and obstacle else []
        if uses_cuda_graph:
            torch.backends.cudnn.benchmark = True  # every step has the same shapes
        self.trainer = Trainer(config, self.spec, self.fabric, GraphedCall if uses_cuda_graph else None)
        with translate_disk_errors(folder):
            self.resumed = self._checkpoint_path.exists()
        if self.resumed:
            self._resume()
        elif config.network.warm_start:
            warning = self.trainer.load_warm_start(config.network.warm_start, self._sample_folding_batches())
            self.warnings += [warning] if warning else []
        self.warnings += self._find_shared_cases()
        self.is_finished = self.resumed and self.step >= self.steps
        if self.is_main_process:
            with translate_disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            # Without a checkpoint the run begins anew, and so does its log, be it with step 0.
            metrics_log.rewind_metrics(folder / METRICS_FILE, self.step if self.resumed else -1)

    def __iter__(self) -> Iterator[StepReport]:
        """Run the remaining steps. Raises `ModelError` on a loss that is not finite, or has exploded (see `LossWatch`);
        the checkpoint is then one from before.

        A warm start is validated first, and stays the best until a step scores higher.
        """
        schedule = self.config.schedule
        if self.step == 0 and self.config.network.warm_start and not self.resumed:
            self._validate(None)
            if self.steps == 0:
                self._save_last_weights()
                self.save()
                self.is_finished = True
        with closing(load_batches(self.sampler, range(self.step, self.steps), self.device)) as batches:
            for batch in batches:
                terms = self.trainer.train_batch(batch, self.step)
                loss = sum(term for name, term in terms.items() if name != DISCRIMINATOR_TERM)
                if not math.isfinite(sum(terms.values())):
                    raise ModelError(
                        f"loss is not finite in step {self.step + 1}; its batch is saved in "
                        f"{self._save_failed_batch(batch)}; {divergence_advice(self._checkpoint_path)}"
                    )
                self.step += 1
                is_last = self.step == self.steps
                self._watch_losses(terms, is_last=is_last)
                scores = self._validate(loss) if is_last or self.step % schedule.validate_every == 0 else None
                # Weights before the checkpoint: killed between the two, a run repeats steps and writes the same again.
                if is_last:
                    self._save_last_weights()
                if scores or self.step % schedule.save_every == 0:
                    self.save()
                self.is_finished = is_last
                yield StepReport(self.step, self.steps, loss, terms, scores)

    @property
    def is_main_process(self) -> bool:
        """Whether this is the process that writes files."""
        return bool(self.fabric.is_global_zero)

    @property
    def initial_metrics(self) -> metrics_log.MetricsEntry | None:
        """Validation metrics before the first step, if the run started from other weights."""
        entries = metrics_log.read_metrics(self.folder / METRICS_FILE)
        return entries[0] if entries and entries[0]["step"] == 0 else None

    @property
    def goal(self) -> SelectionGoal:
        """The validation score by which the best weights are chosen."""
        if self.trainer.adversary is not None:
            return "texture"
        return "gain" if self.config.loss.trains_pixels else "accuracy"

    @property
    def result_path(self) -> Path:
        """The weights file that the run is made for."""
        return self.folder / result_file(self.config)

    def save(self) -> None:
        """Write the checkpoint of the last step; the run also does so itself, every `save_every` steps.

        The older one stays while the loss is so large that it may be exploding.
        """
        if self.is_main_process and not self.losses.is_suspect:
            save_checkpoint(
                self._checkpoint_path,
                self._checkpoint_key,
                Checkpoint(self.step, self.best_score, self.losses, self.trainer.export_state()),
            )

    @property
    def _checkpoint_path(self) -> Path:
        return self.folder / CHECKPOINT_FILE

    @property
    def _checkpoint_key(self) -> CheckpointKey:
        return CheckpointKey(self._digest, self.sampler.store.digest, self._config_keys)

    def _watch_losses(self, terms: LossTerms, *, is_last: bool) -> None:
        """Raise `ModelError` if the loss has exploded; after the last step, also if it is about to."""
        self.losses.add(sum(term for name, term in terms.items() if name not in ADVERSARIAL_TERMS))
        if self.losses.has_exploded or (is_last and self.losses.is_suspect):
            raise ModelError(
                f"loss has exploded: in step {self.step} its median over {WINDOW_STEPS} steps is "
                f"{self.losses.median:.3g}, after {self.losses.lowest:.3g} at its lowest; "
                f"{divergence_advice(self._checkpoint_path)}"
            )

    def _validate(self, loss: float | None) -> ValidationScores:
        """Score the moving average, save it if it is the best so far, log its metrics and draw its samples."""
        # A network of its own: the trained one stays in training mode, and its weights are not the average.
        network = build_network(self.spec).to(self.device)
        network.load_state_dict(self.trainer.average)
        scores = self.validation.score_network(network.eval(), self.device)
        score = scores.score(self.goal)
        is_best, self.best_score = score > self.best_score, max(score, self.best_score)
        if self.is_main_process:
            if is_best:
                self._save_average(BEST_WEIGHTS_FILE)
            metrics_log.append_metrics(self.folder / METRICS_FILE, _build_metrics_entry(self.step, loss, scores))
            title = f"step {self.step}: {scores.gain_db:+.2f} dB over bicubic"
            sample = self.validation.draw_comparison(network, self.device)
            path = self.folder / SAMPLES_FOLDER / f"step-{self.step:07}.png"
            save_picture(path, add_captions(sample, COMPARISON_COLUMNS, title))
        return scores

    def _save_last_weights(self) -> None:
        if self.is_main_process:
            self._save_average(LAST_WEIGHTS_FILE)
            save_picture(
                self.folder / CURVE_FILE, draw_learning_curve(metrics_log.read_metrics(self.folder / METRICS_FILE))
            )

    def _save_average(self, name: str) -> None:
        average = self.trainer.average
        if self.config.result.half:
            average = {key: tensor.half() for key, tensor in average.items()}
        save_weights(self.folder / name, self.spec, average)

    def _sample_folding_batches(self) -> Iterator[Tensor] | None:
        """Return low-resolution batches on which the attention of a warm start is averaged, if it is to be folded."""
        if not self.config.network.fold:
            return None
        return (self.sampler.make_batch(step).low for step in range(FOLDING_BATCHES))

    def _save_failed_batch(self, batch: Batch) -> Path:
        """Save the batch whose loss is not finite, for inspection; return its path."""
        path = self.folder / f"failed-step-{self.step + 1}.safetensors"
        if self.is_main_process:
            tensors = {"low": batch.low.contiguous(), "high": batch.high.contiguous(), "mpp": torch.tensor(batch.mpp)}
            write_atomically(path, [save_tensors(tensors)])
        return path

    def _build_spec(self) -> ModelSpec:
        """Return the network's spec, with the finest and coarsest pixel size of the training input.

        Raises `ConfigError` if one of the magnifications to classify occurs in no training pair.
        """
        pitches = [record.mpp_lr for records in self.sampler.records_by_slide for record in records]
        spec = self.config.network.build_spec((round(min(pitches), 4), round(max(pitches), 4)))
        classes = {spec.magnification_class(mpp) for mpp in pitches}
        absent = [f"{value:g}x" for index, value in enumerate(spec.magnifications) if index not in classes]
        if absent:
            raise ConfigError(
                f"{self.config.data.dataset}: no training pair at {', '.join(absent)}, where the input has "
                f"{spec.input_mpp[0]:g} to {spec.input_mpp[1]:g} um/px; choose other magnifications or slides"
            )
        return spec

    def _find_shared_cases(self) -> list[str]:
        """Return a warning if the validation shows a case that is trained on, as where slides are split by place."""
        validated = {record.case for records in self.validation.records_by_slide.values() for record in records}
        shared = sorted({record.case for records in self.sampler.records_by_slide for record in records} & validated)
        return [f"case {shared[0]} is trained on and validated on: the scores are too high"] if shared else []

    def _resume(self) -> None:
        checkpoint = load_checkpoint(self._checkpoint_path, self._checkpoint_key, self.device)
        try:
            self.trainer.load_state(checkpoint.state)
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelError(f"{self._checkpoint_path}: does not fit the network; remove it to start again") from error
        self.step, self.best_score, self.losses = checkpoint.step, checkpoint.best_score, checkpoint.losses


def result_file(config: TrainConfig) -> str:
    """Return the name of the weights file that a run is made for."""
    return BEST_WEIGHTS_FILE if config.result.weights == "best" else LAST_WEIGHTS_FILE


def _build_metrics_entry(step: int, loss: float | None, scores: ValidationScores) -> metrics_log.MetricsEntry:
    loss_entry = {} if loss is None else {"loss": round(loss, 6)}
    optional = {"accuracy": scores.accuracy, "texture": scores.texture_distance}
    measured = {name: round(value, 4) for name, value in optional.items() if value is not None}
    return {"step": step} | loss_entry | {"gain_db": round(scores.gain_db, 4)} | measured


def count_trainable_parameters(network: nn.Module) -> int:
    """Count the parameters that are not frozen."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
