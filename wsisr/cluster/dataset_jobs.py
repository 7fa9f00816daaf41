"""Parts of a dataset that the workers of a cluster build: one owner for each, which writes it into the shared folder.

A part is hundreds of megabytes of pixels, too much to be sent through the process that started the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsisr.cluster.calls import call_on_workers
from wsisr.cluster.job_spec import UnfitWorkerError
from wsisr.cluster.session import ClusterSession
from wsisr.dataset.builder import DatasetJob, FinishedJob, StopSignal, build_part


@dataclass(frozen=True, slots=True)
class PartTask:
    """A part for a worker to build."""

    job: DatasetJob
    folder: str
    """Of the unfinished dataset. Text, for it is no input, whose files would be compared."""
    identity: tuple[tuple[str, str], ...]
    """`DatasetJob.identity`, as the process sees it that started the run."""


@dataclass(frozen=True, slots=True)
class _FolderIsGone:
    """A flag that is set once a run that has lost this worker has given the dataset its name."""

    folder: Path

    def is_set(self) -> bool:
        return not self.folder.is_dir()


def build_part_on_worker(task: PartTask) -> str | None:
    """Build a part here; return the message of its failure if its slide cannot be used."""
    folder = Path(task.folder)
    if not folder.is_dir():
        raise UnfitWorkerError(f"{folder}: is not seen here, where the parts of the dataset are to be written")
    return build_part(task.job, folder, StopSignal(_FolderIsGone(folder)), dict(task.identity))


def run_dataset_jobs(
    session: ClusterSession, jobs: Sequence[DatasetJob], dataset: Path
) -> Iterator[FinishedJob | None]:
    """Yield jobs as workers finish them, in any order, and None now and then: what `DatasetBuilder.run_jobs` may be."""
    dataset.mkdir(parents=True, exist_ok=True)
    tasks = [PartTask(job, str(dataset.absolute()), tuple(job.identity.items())) for job in jobs]
    for result in call_on_workers(session, build_part_on_worker, tasks):
        if result is None:
            yield None
        elif result.error is not None:
            raise result.error
        else:
            yield FinishedJob(jobs[result.number], result.value)
