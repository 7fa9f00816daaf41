"""Evaluation on a cluster: each row of the score table is a task of its own, and rows are put in order here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from wsisr.cli.evaluation_run import STEPS_PER_ROW, EvaluationCase, EvaluationFindings, EvaluationSetup
from wsisr.cluster.calls import call_on_workers
from wsisr.cluster.job_spec import ModelRequest
from wsisr.cluster.remote import RemoteUpscaler, locate_model
from wsisr.cluster.session import ClusterSession
from wsisr.evaluation.tasks import (
    EvaluationTask,
    ProbeTask,
    ScoredModel,
    TaskScores,
    compute_probes,
    compute_row,
)
from wsisr.progress import Progress

if TYPE_CHECKING:
    from wsisr.evaluation import EvaluationInput, FlatProbe
    from wsisr.models.upscaler import Upscaler


class ClusterEvaluation:
    """A model that the workers of a session score."""

    def __init__(self, session: ClusterSession, model: ScoredModel) -> None:
        self._session = session
        self._model = replace(model, model=locate_model(model.model))
        self._request = ModelRequest(self._model.model, model.scale, model.device)
        self.warnings: list[str] = []
        """What the model warned of, on any worker."""

    def describe_upscaler(self) -> Upscaler:
        """Return the facts of the model as workers run it. Raises `ClusterError` if none has it."""
        return self._model.correct(RemoteUpscaler(self._session.describe_model(self._request).info))

    def measure_flat_images(self, sources: Sequence[EvaluationInput]) -> list[FlatProbe]:
        """Score the model on flat images."""
        probes: list[FlatProbe] = []
        for result in call_on_workers(
            self._session, compute_probes, [ProbeTask(self._model, tuple(sources))], self._request
        ):
            if result is not None and result.error is not None:
                raise result.error
            probes += result.value if result else ()
        return probes

    def evaluate_cases(
        self, cases: Sequence[EvaluationCase], setup: EvaluationSetup, findings: EvaluationFindings
    ) -> Iterator[Progress]:
        """Have the cases evaluated, and yield progress. A slide that fails gets no rows."""
        tasks = [self._make_task(case, setup) for case in cases]
        scores: dict[int, TaskScores] = {}
        done, errors = 0, findings.failures.errors
        total = STEPS_PER_ROW * len(cases)
        yield Progress("evaluate", 0, total)
        for result in call_on_workers(self._session, compute_row, tasks, self._request):
            if result is not None:
                done += 1
                path = cases[result.number].slide.path
                if result.error is None:
                    scores[result.number] = result.value
                    self.warnings += [text for text in result.value.warnings if text not in self.warnings]
                elif path not in errors:
                    with findings.failures.catch(path):
                        raise result.error
            yield Progress("evaluate", STEPS_PER_ROW * done, total)
        for number, found in sorted(scores.items()):
            case = cases[number]
            if case.slide.path not in errors:
                findings.rows.append(replace(found.row, slide=case.slide.path))
            for example in found.examples:
                findings.files.add_example(example, case.slide.path, case.source.label)

    def _make_task(self, case: EvaluationCase, setup: EvaluationSetup) -> EvaluationTask:
        slide, series, level, source = case
        return EvaluationTask(slide.path, slide.mpp, series, level, source, self._model, setup.sampling, setup.nuclei)
