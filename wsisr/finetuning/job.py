"""Finetuning as one job: pairs, pace, training, evaluation, verdict. Left at any step, the same call goes on there."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch

from wsisr.dataset.builder import BuildOptions, DatasetBuilder
from wsisr.dataset.case_names import list_names
from wsisr.dataset.degradation import ARCHIVE
from wsisr.dataset.reader import MANIFEST, PatchStore
from wsisr.dataset.simulated import Simulation, plan_simulated_dataset
from wsisr.dataset.slides_and_splits import DatasetSlide, find_doubt
from wsisr.errors import ConfigError, DatasetError, SlideError
from wsisr.evaluation.comparison import LevelComparison, compare_level, summarise_comparisons
from wsisr.evaluation.inputs import EvaluationInput, list_inputs
from wsisr.files import write_atomically
from wsisr.finetuning.cases import SlideSelection, find_finest_level, select_slides
from wsisr.finetuning.recipe_file import PAIRS_FOLDER, RUN_FOLDER, format_recipe, parse_recipe, write_recipe
from wsisr.finetuning.report import FEW_STEPS, FinetuneReport
from wsisr.finetuning.request import FinetuneRequest
from wsisr.finetuning.state import REPORT_FILE, FinetuneState, open_state
from wsisr.models.backends.device import select_device
from wsisr.models.catalog import Model, choose_default_model
from wsisr.models.corrections import add_corrections
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Upscaler
from wsisr.progress import Progress, format_count
from wsisr.slides import open_slide
from wsisr.tissue import find_tissue
from wsisr.training.loop import TrainingRun
from wsisr.training.pace import measure_pace
from wsisr.upscaling.job import Noted, Warned

FinetuneEvent: TypeAlias = Progress | Noted | Warned | FinetuneReport
"""What happens in a finetuning; the report comes last."""

PLANNED_SHARE = 0.9
"""Share of the time that is planned to be steps; the rest is for validations, and for a machine that others use."""

PACE_SHARE = 0.03
"""Share of the time in which the pace is measured, at most."""

SAVE_EVERY = 100
"""Steps after which the time that was trained is noted, in case the process is killed."""

STEPS_PER_COMPARISON = 100
"""Steps of the progress of each slide and input that is evaluated."""

Clock: TypeAlias = Callable[[], float]
"""Returns seconds since some moment."""


def run_finetuning(
    request: FinetuneRequest, clock: Clock = time.monotonic
) -> Generator[FinetuneEvent, None, FinetuneReport]:
    """Finetune the shipped model on slides, compare both on held-out cases, and yield what happens.

    Left early, all work is kept, and the same call goes on from there; with more minutes, a finished one does. Raises
    a `WsisrError` where nothing can come of it: before the work, if slides or cases are the reason.
    """
    start, device = choose_default_model(request.scale, None), select_device(request.device)
    selection = yield from select_slides(request, start.spec)
    state = open_state(request, start, selection)
    yield from map(Warned, selection.refusals)
    yield Noted(_describe_cases(selection, start))
    doubt = find_doubt(selection.slides, request.recipe)
    if doubt:
        yield Warned(str(doubt))
    job = FinetuneJob(request, start, selection, state, device, clock)
    yield from job.build_pairs()
    yield from job.plan_steps()
    yield from job.train()
    job.save_weights()
    comparisons = yield from job.compare()
    report = FinetuneReport(
        weights=request.weights_path,
        start=start.name,
        scale=request.scale,
        steps=state.stop_after or state.steps,
        trained_s=state.trained_s,
        train_cases=selection.case_counts[0],
        held_out_cases=tuple(dict.fromkeys(item.case for item in comparisons)),
        inputs=tuple(summarise_comparisons(comparisons)),
    )
    write_atomically(request.folder / REPORT_FILE, [json.dumps(report.to_json(), indent=2).encode() + b"\n"])
    yield report
    return report


def finetune_model(request: FinetuneRequest) -> FinetuneReport:
    """Finetune the shipped model on slides and return the report, whose `verdict` says what to do.

    Prints nothing. Raises a `WsisrError`, with what is wrong in one line.
    """
    with closing(run_finetuning(request)) as events:
        return next(event for event in events if isinstance(event, FinetuneReport))


@dataclass(frozen=True, slots=True)
class FinetuneJob:
    """The stages of a finetuning. Each does only what is left of it."""

    request: FinetuneRequest
    start: Model
    selection: SlideSelection
    state: FinetuneState
    device: torch.device
    clock: Clock

    def build_pairs(self) -> Generator[FinetuneEvent, None, None]:
        """Build the dataset. Raises `DatasetError` if it has too few pairs of either split."""
        request, folder = self.request, self.request.folder / PAIRS_FOLDER
        if not (folder / MANIFEST).is_file():
            simulation, options = Simulation(ARCHIVE, (request.scale,)), BuildOptions(request.jobs)
            builder = DatasetBuilder(
                plan_simulated_dataset(self.selection.slides, folder, request.recipe, simulation, options)
            )
            with closing(iter(builder)) as steps:
                yield from steps
            self.state.failures[:] = builder.failures.values()
            self.state.save(request.folder)
        yield from map(Warned, self.state.failures)
        store = PatchStore(folder)
        for split, purpose in (("train", "train on"), ("val", "judge by")):
            count = len(store.select_pairs(split, request.scale))
            if count < request.batch:
                raise DatasetError(
                    f"the slides to {purpose} have tissue for {format_count(count, 'pair')} of patches of "
                    f"{request.patch_px} px, and {request.batch} are needed; give more slides, or such with more tissue"
                )

    def plan_steps(self) -> Generator[FinetuneEvent, None, None]:
        """Plan as many steps as there is time for: by the measured pace, or more of them for a run that is finished.

        Raises `ConfigError` for less time than before, or more of it for a training that is not finished yet.
        """
        request, state = self.request, self.state
        if state.steps and request.minutes == state.minutes:
            return
        if state.steps:
            done = self._check_prolonging()
            pace = done / max(state.trained_s, 1e-3)
        else:
            yield Progress("pace", 0, 1)
            config = parse_recipe(request, format_recipe(request, self.start, 1))
            done, pace = 0, measure_pace(config, self.device, 60 * request.minutes * PACE_SHARE, self.clock)
        left_s = max(0.0, 60 * request.minutes - state.trained_s)
        state.steps, state.stop_after = done + max(1, int(left_s * PLANNED_SHARE * pace)), 0
        state.minutes = request.minutes
        state.save(request.folder)
        planned = f"{state.steps:,} steps in {request.minutes:g} min, at {pace:.2g} a second"
        if state.steps < FEW_STEPS:
            enough = math.ceil((state.trained_s + (FEW_STEPS - done) / (PLANNED_SHARE * pace)) / 60)
            planned += f"; fewer than {FEW_STEPS} mostly make a model worse, so give --minutes {enough} or more"
        yield Noted(planned)

    def _check_prolonging(self) -> int:
        """Return the steps of a training that may be prolonged. Raises `ConfigError`."""
        folder, begun = self.request.folder, self.state.minutes
        if self.request.minutes < begun:
            raise ConfigError(f"{folder}: was begun with --minutes {begun:g}; give at least as many")
        run = self._open_run()
        if not run.is_finished:
            raise ConfigError(f"{folder}: is not finished yet; go on with --minutes {begun:g}, then give it more")
        return run.step

    def train(self) -> Generator[FinetuneEvent, None, None]:
        """Train until all steps are done or the time is up; the run then ends with the next step."""
        run = self._open_run()
        yield from map(Warned, run.warnings)
        yield from self._take_steps(run, limit_s=60 * self.request.minutes)
        if not run.is_finished:
            yield Noted(f"the time is up after {run.step:,} of {run.steps:,} steps")
            self.state.stop_after = run.step + 1
            self.state.save(self.request.folder)
            yield from self._take_steps(self._open_run())

    def _open_run(self) -> TrainingRun:
        config = write_recipe(self.request, self.start, self.state.steps, self.state.stop_after)
        return TrainingRun(config, self.request.folder / RUN_FOLDER, self.device)

    def _take_steps(self, run: TrainingRun, limit_s: float = float("inf")) -> Generator[Progress, None, None]:
        """Take the remaining steps while less than `limit_s` was trained; keep what is done, however it ends."""
        began, before, first = self.clock(), self.state.trained_s, run.step
        if not run.is_finished:
            yield Progress("train", first, run.steps, first)
        try:
            for report in run:
                self.state.trained_s = before + self.clock() - began
                if report.step % SAVE_EVERY == 0:
                    self.state.save(self.request.folder)
                yield Progress("train", report.step, report.steps, first)
                if self.state.trained_s >= limit_s:
                    break
        finally:
            if not run.is_finished and run.step > first:
                run.save()
            self.state.save(self.request.folder)

    def save_weights(self) -> None:
        """Put the trained weights under their name."""
        weights = self.request.folder / RUN_FOLDER / "last.safetensors"
        write_atomically(self.request.weights_path, [weights.read_bytes()])

    def compare(self) -> Generator[FinetuneEvent, None, list[LevelComparison]]:
        """Compare shipped and finetuned model, each with the guard, on the held-out slides.

        Raises `DatasetError` if none of them has tissue enough.
        """
        upscalers = self._load(self.start.name), self._load(self.request.weights_path)
        slides, comparisons = self.selection.held_out, list[LevelComparison]()
        yield Progress("evaluate", 0, len(slides) * STEPS_PER_COMPARISON)
        for number, slide in enumerate(slides):
            try:
                for step in self._compare_slide(slide, upscalers, comparisons):
                    done = number * STEPS_PER_COMPARISON + step.done * STEPS_PER_COMPARISON // step.total
                    yield Progress("evaluate", done, len(slides) * STEPS_PER_COMPARISON)
            except SlideError as error:
                yield Warned(str(error))
        yield from map(Warned, dict.fromkeys(warning for upscaler in upscalers for warning in upscaler.warnings))
        if not comparisons:
            raise DatasetError("no held-out slide has enough tissue to judge by; give other slides with --validation")
        return comparisons

    def _compare_slide(
        self, slide: DatasetSlide, upscalers: tuple[Upscaler, Upscaler], comparisons: list[LevelComparison]
    ) -> Generator[Progress, None, None]:
        inputs: Sequence[EvaluationInput] = list_inputs(["area", "bicubic"])
        with open_slide(slide.path, slide.mpp) as opened:
            level, tissue = find_finest_level(opened.info, self.start.spec, self.request.recipe), find_tissue(opened)
            for number, source in enumerate(inputs):
                for step in compare_level(opened, slide.case, upscalers, level, source, tissue):
                    if isinstance(step, LevelComparison):
                        comparisons.append(step)
                    else:
                        yield Progress("evaluate", number * step.total + step.done, len(inputs) * step.total)

    def _load(self, model: str | Path) -> Upscaler:
        upscaler = load_upscaler(model, scale=self.request.scale, device=self.request.device)
        return add_corrections(upscaler, guard=True, consistency=False)


def _describe_cases(selection: SlideSelection, start: Model) -> str:
    """Return what is learned from and what judges."""
    held_out = {slide.case for slide in selection.held_out}
    learned = {slide.case for slide in selection.slides} - held_out
    slides = format_count(len(selection.slides) - len(selection.held_out), "slide")
    cases = f"{format_count(len(learned), 'case')} ({list_names(learned)})"
    return f"{start.name} learns from {slides} of {cases}; held out to judge by: {list_names(held_out)}"
