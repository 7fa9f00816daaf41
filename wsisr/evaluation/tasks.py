"""Evaluation tasks: one row of the score table each, for a process that opens slide and network itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from wsisr.evaluation.blocks import Sampling
from wsisr.evaluation.evaluate import evaluate_level
from wsisr.evaluation.example_patches import ExamplePatch
from wsisr.evaluation.flat_images import FlatProbe, measure_flat_images
from wsisr.evaluation.inputs import EvaluationInput
from wsisr.evaluation.nuclei_accumulator import NucleiOptions
from wsisr.evaluation.scores import ScoreRow
from wsisr.models.corrections import add_corrections
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Upscaler
from wsisr.slides import open_slide


@dataclass(frozen=True, slots=True)
class ScoredModel:
    """A model as `load_upscaler` takes it, and its corrections."""

    model: str | None
    scale: int
    device: str
    guard: bool
    consistency: bool

    def load(self) -> Upscaler:
        """Load it; what was loaded before is kept. Raises `ModelError` or `DeviceError`."""
        return self.correct(load_upscaler(self.model, scale=self.scale, device=self.device))

    def correct(self, upscaler: Upscaler) -> Upscaler:
        """Return the model's upscaler with its corrections."""
        return add_corrections(upscaler, guard=self.guard, consistency=self.consistency)


@dataclass(frozen=True, slots=True)
class EvaluationTask:
    """A level of a slide to score a model on."""

    slide: Path
    mpp: float | None
    series: int | None
    level: int
    source: EvaluationInput
    model: ScoredModel
    sampling: Sampling
    nuclei: NucleiOptions | None


class TaskScores(NamedTuple):
    """What a task found."""

    row: ScoreRow
    examples: tuple[ExamplePatch, ...]
    warnings: tuple[str, ...]
    """What the model warned of."""


@dataclass(frozen=True, slots=True)
class ProbeTask:
    """Flat images to score a model on."""

    model: ScoredModel
    sources: tuple[EvaluationInput, ...]


def compute_row(task: EvaluationTask) -> TaskScores:
    """Score a model on a level. Raises `SlideError`, `ModelError` or `DeviceError`."""
    upscaler = task.model.load()
    with open_slide(task.slide, task.mpp, series=task.series) as slide:
        steps = evaluate_level(slide, upscaler, task.level, task.source, task.sampling, task.nuclei)
        found = [step for step in steps if isinstance(step, ExamplePatch | ScoreRow)]
    examples = tuple(step for step in found if isinstance(step, ExamplePatch))
    (row,) = (step for step in found if isinstance(step, ScoreRow))
    return TaskScores(row, examples, tuple(upscaler.warnings))


def compute_probes(task: ProbeTask) -> Sequence[FlatProbe]:
    """Score a model on flat images. Raises `ModelError` or `DeviceError`."""
    return measure_flat_images(task.model.load(), task.sources)
