"""Several recipes on one machine that is lent for a while: a step of each in turn, until all are done or time is up."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import torch

from wsisr.training.loop import StepReport, TrainingRun
from wsisr.training.stages import TrainRecipe


class RecipeSteps:
    """The steps of a recipe, stage after stage, as one iterator that can be left at any step."""

    def __init__(self, recipe: TrainRecipe, folder: Path, device: torch.device) -> None:
        self.run: TrainingRun | None = None
        """The stage that is trained now, or was last."""
        self._runs = recipe.open_runs(folder, device)

    def __iter__(self) -> Iterator[StepReport]:
        for run in self._runs:
            self.run = run
            yield from run

    def save(self) -> None:
        """Write the checkpoint of a stage that is not finished."""
        if self.run is not None and not self.run.is_finished and self.run.step:
            self.run.save()


def train_side_by_side(
    recipes: Mapping[str, TrainRecipe], folder: Path, device: torch.device
) -> Generator[tuple[str, TrainingRun, StepReport], None, None]:
    """Train a step of each recipe in turn, each in the folder of its name; yield name, run and report of each step.

    If the caller stops early, all checkpoints are written, and the same call resumes. Raises a `WsisrError` like
    `TrainingRun`.
    """
    trained = {name: RecipeSteps(recipe, folder / name, device) for name, recipe in recipes.items()}
    remaining = {name: iter(steps) for name, steps in trained.items()}
    try:
        while remaining:
            for name in list(remaining):
                report = next(remaining[name], None)
                run = trained[name].run
                if report is None or run is None:
                    del remaining[name]
                else:
                    yield name, run, report
    finally:
        for steps in trained.values():
            steps.save()
