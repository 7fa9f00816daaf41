"""Run of `wsisr evaluate`: its cases are scored one by one here, or by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from wsisr.cli.console import relay_warnings
from wsisr.cli.progress import show_preparation, show_progress
from wsisr.cli.slide_failures import SlideFailures
from wsisr.progress import Progress

if TYPE_CHECKING:
    from wsisr.cli.cluster_evaluation import ClusterEvaluation
    from wsisr.cli.evaluation_files import EvaluationFiles
    from wsisr.cluster.place import ClusterPlace
    from wsisr.evaluation import EvaluationInput, FlatProbe, NucleiOptions, Sampling, ScoreRow
    from wsisr.evaluation.tasks import ScoredModel
    from wsisr.models.upscaler import Upscaler
    from wsisr.slides.listing import SlideEntry

STEPS_PER_ROW = 1000
"""Steps of the progress bar for each row of the score table."""


class EvaluationCase(NamedTuple):
    """A level to evaluate on, and how truth and input are made of it: one row of the score table."""

    slide: SlideEntry
    series: int | None
    level: int
    source: EvaluationInput


class EvaluationSetup(NamedTuple):
    """What is the same for all cases."""

    model: ScoredModel
    plain_inputs: Sequence[EvaluationInput]
    """The inputs that flat images are made to."""
    sampling: Sampling
    nuclei: NucleiOptions | None
    place: ClusterPlace | None
    """Where workers are; None to score here."""


class EvaluationFindings(NamedTuple):
    """Where what is found goes."""

    rows: list[ScoreRow]
    files: EvaluationFiles
    failures: SlideFailures


def run_evaluation(
    cases: Sequence[EvaluationCase], setup: EvaluationSetup, findings: EvaluationFindings, *, quiet: bool
) -> tuple[Upscaler, list[FlatProbe]]:
    """Score a model on the cases, and show progress. Returns the model's upscaler, of which a cluster gives the facts
    only, and its scores on flat images.
    """
    with _open_cluster_evaluation(setup, quiet=quiet) as remote:
        with show_preparation("loads the model", quiet=quiet):
            upscaler, probes = _prepare_model(setup, remote)
        if remote is None:
            steps, warnings = _evaluate_cases(cases, upscaler, setup, findings), upscaler.warnings
        else:
            steps, warnings = remote.evaluate_cases(cases, setup, findings), remote.warnings
        for _ in show_progress(relay_warnings(steps, warnings), _format_pace, quiet=quiet):
            pass
    return upscaler, probes


@contextmanager
def _open_cluster_evaluation(setup: EvaluationSetup, *, quiet: bool) -> Iterator[ClusterEvaluation | None]:
    """Context: the workers of a cluster that score the model; None without a cluster."""
    if setup.place is None:
        yield None
        return
    from wsisr.cli.cluster_batch import open_cluster
    from wsisr.cli.cluster_evaluation import ClusterEvaluation

    with open_cluster(setup.place, allow_mixed=False, quiet=quiet) as session:
        yield ClusterEvaluation(session, setup.model)


def _prepare_model(setup: EvaluationSetup, remote: ClusterEvaluation | None) -> tuple[Upscaler, list[FlatProbe]]:
    from wsisr.evaluation import measure_flat_images

    if remote is not None:
        return remote.describe_upscaler(), remote.measure_flat_images(setup.plain_inputs)
    upscaler = setup.model.load()
    return upscaler, measure_flat_images(upscaler, setup.plain_inputs)


def _evaluate_cases(
    cases: Sequence[EvaluationCase], upscaler: Upscaler, setup: EvaluationSetup, findings: EvaluationFindings
) -> Iterator[Progress]:
    """Evaluate the cases one by one, append a row for each, keep example patches, and yield progress.

    A slide that fails gets no rows.
    """
    from wsisr.evaluation import ExamplePatch, ScoreRow
    from wsisr.evaluation import evaluate_level as evaluated
    from wsisr.slides import open_slide

    rows, files, failures = findings
    total = STEPS_PER_ROW * len(cases)
    yield Progress("evaluate", 0, total)
    for number, case in enumerate(cases):
        path = case.slide.path
        if path in failures.errors:
            continue
        with failures.catch(path), open_slide(path, case.slide.mpp, series=case.series) as slide:
            for step in evaluated(slide, upscaler, case.level, case.source, setup.sampling, setup.nuclei):
                if isinstance(step, ScoreRow):
                    rows.append(replace(step, slide=path))  # not a DICOM folder's first file
                elif isinstance(step, ExamplePatch):
                    files.add_example(step, case.slide.path, case.source.label)
                else:
                    yield Progress("evaluate", STEPS_PER_ROW * number + STEPS_PER_ROW * step.done // step.total, total)
        if path in failures.errors:
            rows[:] = [row for row in rows if row.slide != path]


def _format_pace(progress: Progress, seconds: float) -> str:
    return f"{progress.done // STEPS_PER_ROW}/{progress.total // STEPS_PER_ROW} images in {seconds:.0f} s"
