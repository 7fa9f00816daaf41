"""Building a dataset: one part per slide, several at a time, published under its name when all are done.

Until then, everything lies in `FOLDER.wsisr-part`. After an interruption, the same command resumes there and reuses
the finished parts. The bytes of a dataset depend on its jobs alone, not on the number of processes or interruptions.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from threadpoolctl import threadpool_limits

from wsisr.dataset.duplicates import find_near_duplicates, summarise_near_duplicates
from wsisr.dataset.place_split import split_by_place
from wsisr.dataset.reader import HEADER, MANIFEST, SLIDES
from wsisr.dataset.records import parse_manifest
from wsisr.dataset.report import write_report
from wsisr.dataset.shard_writer import (
    PARTS_FOLDER,
    ShardWriter,
    open_shard_writer,
    part_path,
    read_part,
    remove_partial_shards,
    write_part,
)
from wsisr.dataset.slide_facts import JsonObject, SlideFacts
from wsisr.errors import DatasetError, OutputError, WsisrError
from wsisr.files import check_output, publish_output, remove_path, translate_disk_errors, write_atomically
from wsisr.parallel.processes import HEARTBEAT_S, Channel, JobDone, StopFlag, WorkerDied, run_in_processes
from wsisr.parallel.threads import translate_shortage
from wsisr.progress import Progress
from wsisr.version import __version__
from wsisr.writing.workdir.folder import DATASET_FOLDER, PartFolder


class DatasetJob(Protocol):
    """The job of building one part, from a slide or a set of captures.

    It is pickled for worker processes: implement it as a frozen dataclass at module level.
    """

    @property
    def name(self) -> str:
        """File name of the part, without suffix; unique within the dataset."""
        ...

    @property
    def location(self) -> str:
        """Name of the job in an error message: the path of its slide."""
        ...

    @property
    def identity(self) -> Mapping[str, str]:
        """Everything the part depends on, as text: a finished part with another identity is built again."""
        ...

    def __call__(self, writer: ShardWriter, stop: StopSignal) -> SlideFacts:
        """Write the pairs and return the facts of the slide; call `stop.check()` a few times a second.

        Raises a `WsisrError` whose message begins with a path if the slide cannot be used.
        """
        ...


class BuildStopped(Exception):  # noqa: N818 - a request by the user, not an error
    """Raised within a job to leave its part unfinished because the run is to end."""


@dataclass(frozen=True)
class StopSignal:
    """A flag that jobs poll to learn that they should stop."""

    flag: StopFlag

    def check(self) -> None:
        """Raise `BuildStopped` if the flag is set."""
        if self.flag.is_set():
            raise BuildStopped


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Options of a build that do not change the pairs of a slide."""

    workers: int = 1
    """Slides at a time."""
    overwrite: bool = False
    """Replace an existing dataset of that name, and discard the unfinished work of an earlier run."""
    allow_derived: bool = False
    """Accept slides that wsisr wrote."""


DEFAULT_OPTIONS = BuildOptions()


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """The jobs of a dataset and its folder."""

    folder: Path
    jobs: Sequence[DatasetJob]
    recipe: Mapping[str, str]
    """Options that all parts depend on: name to value, as text."""
    options: BuildOptions = DEFAULT_OPTIONS
    place_share: float = 0.0
    """Share of each slide that is held out; with 0, the jobs have split their pairs by case."""


@dataclass(frozen=True, slots=True)
class FinishedJob:
    """A job that ended, and the message of its failure if its slide cannot be used."""

    job: DatasetJob
    failure: str | None


class JobRunner(Protocol):
    """Builds parts in an unfinished dataset."""

    def __call__(self, jobs: Sequence[DatasetJob], dataset: Path) -> Iterator[FinishedJob | None]:
        """Yield jobs as they finish, in any order, and None now and then so that the caller can stop."""
        ...


class DatasetBuilder:
    """Builds a dataset; iterate over it to run and follow the progress."""

    def __init__(self, plan: DatasetPlan) -> None:
        """Raises `OutputError` if the folder cannot become the dataset; nothing is written yet."""
        self.plan = plan
        self.run_jobs: JobRunner = partial(_run_jobs, workers=plan.options.workers)
        """Builds the parts: processes of this machine, unless something else is put here."""
        self.failures: dict[str, str] = {}
        """Name of a job to the message why its slide could not be used; grows during the run."""
        self.reused_parts = 0
        """Number of parts that an earlier run had finished."""
        _check_folder(plan)

    def __iter__(self) -> Generator[Progress, None, None]:
        """Yield the progress of `slides`. Finished parts stay if the iteration is left early.

        Raises `DatasetError` if no slide gives a pair, `OutputError` if writing fails or another run is building it.
        """
        plan = self.plan
        with translate_disk_errors(plan.folder):
            plan.folder.parent.mkdir(parents=True, exist_ok=True)
            part_folder = PartFolder(plan.folder, content=DATASET_FOLDER)
        dataset, is_ours = part_folder.folder / DATASET_FOLDER, False
        try:
            with translate_disk_errors(plan.folder):
                part_folder.resume_or_clear(dict(plan.recipe), restart=plan.options.overwrite)
            is_ours = True
            yield from self._build_parts(dataset)
            self._publish(dataset)
        finally:
            part_folder.release(keep=not is_ours or any(dataset.glob(f"{PARTS_FOLDER}/*.jsonl")))

    def _build_parts(self, dataset: Path) -> Generator[Progress, None, None]:
        due = [job for job in self.plan.jobs if read_part(part_path(dataset, job.name), job.identity) is None]
        total = len(self.plan.jobs)
        self.reused_parts = reused = done = total - len(due)
        yield Progress("slides", done, total, reused)
        remove_partial_shards(dataset)
        for finished in self.run_jobs(due, dataset):
            if finished is not None:
                done += 1
                if finished.failure is not None:
                    self.failures[finished.job.name] = finished.failure
            yield Progress("slides", done, total, reused)

    def _publish(self, dataset: Path) -> None:
        """Write the files about all parts and the report, and give the dataset its name."""
        remove_partial_shards(dataset)
        names = [job.name for job in self.plan.jobs if job.name not in self.failures]
        parts = [part for part in (read_part(part_path(dataset, name)) for name in names) if part is not None]
        if self.plan.place_share:
            parts = [(facts, self._split_rows(rows)) for facts, rows in parts]
        if not any(rows for _, rows in parts):
            remove_path(dataset)
            raise DatasetError(self._explain_empty())
        self._write_index_files(dataset, parts)
        write_report(dataset)
        with translate_disk_errors(self.plan.folder):
            if self.plan.folder.is_dir() and not any(self.plan.folder.iterdir()):
                self.plan.folder.rmdir()
        publish_output(dataset, self.plan.folder, overwrite=self.plan.options.overwrite)
        with translate_disk_errors(self.plan.folder):
            remove_path(self.plan.folder / PARTS_FOLDER)

    def _split_rows(self, rows: Sequence[str]) -> list[str]:
        """Split the rows of a slide by place."""
        records = parse_manifest("\n".join(rows).encode())
        return [record.to_json() for record in split_by_place(records, self.plan.place_share)]

    def _explain_empty(self) -> str:
        failures = list(self.failures.values())
        if len(failures) == 1 == len(self.plan.jobs):
            return failures[0]
        causes = [f"{len(failures)} of {len(self.plan.jobs)} cannot be used"] if failures else []
        if len(failures) < len(self.plan.jobs):
            causes.append("the others show no tissue in focus" if failures else "none shows tissue in focus")
        return f"{self.plan.folder}: no slide gives a pair: {', '.join(causes)}"

    def _write_index_files(self, dataset: Path, parts: Sequence[tuple[JsonObject, list[str]]]) -> None:
        """Write the files besides the shards; the manifest, which makes the folder a dataset, last."""
        write_atomically(dataset / SLIDES, (json.dumps(facts).encode() + b"\n" for facts, _ in parts))
        records = (record for _, rows in parts for record in parse_manifest("\n".join(rows).encode()))
        # In the order of the jobs: they fail in any order when several run at once.
        failed = [self.failures[job.name] for job in self.plan.jobs if job.name in self.failures]
        header = {
            "wsisr": __version__,
            "recipe": dict(self.plan.recipe),
            "failed": failed,
            "look_alikes": summarise_near_duplicates(find_near_duplicates(records)),
        }
        write_atomically(dataset / HEADER, [json.dumps(header, indent=2).encode() + b"\n"])
        write_atomically(dataset / MANIFEST, (f"{row}\n".encode() for _, rows in parts for row in rows))


def _check_folder(plan: DatasetPlan) -> None:
    folder = plan.folder
    if not folder.name:
        raise DatasetError(f"{folder}: has no name of its own; give the name of a new folder")
    with translate_disk_errors(folder):
        is_empty = folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())
        has_parent = folder.parent.is_dir()
    if has_parent and not is_empty:
        check_output(folder, overwrite=plan.options.overwrite, marker=MANIFEST)


def build_part(
    job: DatasetJob, dataset: Path, stop: StopSignal, identity: Mapping[str, str] | None = None
) -> str | None:
    """Build one part; return the message of its failure if the slide cannot be used.

    Its identity is the job's, unless another is given. Raises `OutputError` if writing fails, `BuildStopped` if the
    flag is set.
    """
    try:
        # One BLAS thread: several jobs share the cores, and the last bits of a sum may depend on its threads.
        with threadpool_limits(1), open_shard_writer(dataset, job.name) as writer:
            facts = job(writer, stop)
        write_part(part_path(dataset, job.name), identity or job.identity, facts, writer.records)
    except OutputError:
        raise
    except WsisrError as error:
        return str(error)
    return None


def _run_jobs(jobs: Sequence[DatasetJob], dataset: Path, workers: int) -> Iterator[FinishedJob | None]:
    """Yield jobs as they finish, in any order, and None now and then so that the caller can stop.

    If the iterator is closed early, running jobs end at their next `StopSignal.check`.
    """
    workers = min(workers, len(jobs))
    # A single worker runs in a thread: starting a process takes one or two seconds.
    return _run_in_processes(jobs, dataset, workers) if workers > 1 else _run_in_thread(jobs, dataset)


def _run_in_processes(jobs: Sequence[DatasetJob], dataset: Path, workers: int) -> Iterator[FinishedJob | None]:
    with closing(run_in_processes(partial(_build_part_in_process, dataset=dataset), jobs, workers)) as events:
        for event in events:
            if isinstance(event, WorkerDied):
                raise DatasetError(f"a worker process was ended from outside ({event.reason}); give fewer --jobs")
            yield FinishedJob(jobs[event.job], event.result) if isinstance(event, JobDone) else None


def _build_part_in_process(job: DatasetJob, channel: Channel, dataset: Path) -> str | None:
    return build_part(job, dataset, StopSignal(channel.stop))


def _run_in_thread(jobs: Sequence[DatasetJob], dataset: Path) -> Iterator[FinishedJob | None]:
    event = threading.Event()
    pool = ThreadPoolExecutor(1)
    try:
        for job in jobs:
            with translate_shortage():
                future = pool.submit(build_part, job, dataset, StopSignal(event))
            while not wait([future], HEARTBEAT_S).done:
                yield None
            yield FinishedJob(job, future.result())
    finally:
        event.set()
        pool.shutdown(cancel_futures=True)
