"""A dataset put together from parts: several slides at a time, each once, and the whole under its name at the end.

Work lies in `FOLDER.wsisr-part` until then. A run that was stopped or killed goes on there with the same command: what
is finished of a slide is taken as it is. The bytes of a dataset depend on its jobs alone, not on how many processes
made it or how often it was begun.
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
from wsisr.dataset.reader import HEADER, MANIFEST, SLIDES
from wsisr.dataset.records import PatchRecord
from wsisr.dataset.report import write_report
from wsisr.dataset.shard_writer import (
    PARTS_FOLDER,
    JsonObject,
    ShardWriter,
    SlideFacts,
    open_shard_writer,
    part_path,
    read_part,
    write_part,
)
from wsisr.errors import DatasetError, OutputError, WsisrError
from wsisr.files import check_output, publish_output, remove_path, translate_disk_errors, write_atomically
from wsisr.parallel.processes import HEARTBEAT_S, Channel, JobDone, StopFlag, WorkerDied, run_in_processes
from wsisr.progress import Progress
from wsisr.version import __version__
from wsisr.writing.workdir.folder import PartFolder

DATASET_FOLDER = "dataset"


class DatasetJob(Protocol):
    """One slide, or one pair of captures, to be made a part of. It is pickled: a frozen dataclass at module level."""

    @property
    def name(self) -> str:
        """File name of the part, without suffix; unique within the dataset."""
        ...

    @property
    def location(self) -> str:
        """What the job is called in an error: the path of its slide."""
        ...

    @property
    def identity(self) -> Mapping[str, str]:
        """What its part depends on, in words: a finished part of another identity is made again."""
        ...

    def __call__(self, part: ShardWriter, stop: StopSignal) -> SlideFacts:
        """Raises a `WsisrError` that begins with a path where the slide cannot be used; `stop.check()` now and then."""
        ...


class BuildStopped(Exception):  # noqa: N818 - no error: somebody wanted it
    """A part was left in its midst because the run is to end."""


@dataclass(frozen=True)
class StopSignal:
    """The wish to end, as the work sees it."""

    flag: StopFlag

    def check(self) -> None:
        """Raises `Stopped` where it was uttered; to be called some times a second."""
        if self.flag.is_set():
            raise BuildStopped


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """What is to be put together."""

    folder: Path
    jobs: Sequence[DatasetJob]
    recipe: Mapping[str, str]
    """What all parts depend on: names to values in words."""
    workers: int = 1
    overwrite: bool = False
    """Replace a dataset of that name, and drop what another run began."""


class DatasetBuilder:
    """A run that makes a dataset."""

    def __init__(self, plan: DatasetPlan) -> None:
        """Raises `OutputError` where the dataset could not get its name; nothing is written yet."""
        self.plan = plan
        self.failures: dict[str, str] = {}
        """Part to the line that says why its slide could not be used; grows meanwhile."""
        self.reused_parts = 0
        """Parts that an earlier run had finished."""
        _check_folder(plan)

    def __iter__(self) -> Generator[Progress, None, None]:
        """Yields `slides`. Raises `DatasetError` where no slide gives a pair; left early, the work stays.

        Raises `OutputError` where the disk refuses or another run is at it; what is finished stays.
        """
        plan = self.plan
        with translate_disk_errors(plan.folder):
            plan.folder.parent.mkdir(parents=True, exist_ok=True)
            scratch = PartFolder(plan.folder)
        work = scratch.folder / DATASET_FOLDER
        try:
            with translate_disk_errors(plan.folder):
                scratch.resume_or_clear(dict(plan.recipe), restart=plan.overwrite)
            yield from self._build_parts(work)
            self._publish(work)
        finally:
            scratch.release(keep=any(work.glob(f"{PARTS_FOLDER}/*.jsonl")))

    def _build_parts(self, work: Path) -> Generator[Progress, None, None]:
        due = [job for job in self.plan.jobs if read_part(part_path(work, job.name), job.identity) is None]
        self.reused_parts = before = len(self.plan.jobs) - len(due)
        total = len(self.plan.jobs)
        yield Progress("slides", before, total, before)
        done = before
        for finished in _run_jobs(due, work, self.plan.workers):
            if finished is not None:
                done += 1
                job, failure = finished
                if failure is not None:
                    self.failures[job.name] = failure
            yield Progress("slides", done, total, before)

    def _publish(self, work: Path) -> None:
        """Gives the dataset its name."""
        names = [job.name for job in self.plan.jobs if job.name not in self.failures]
        parts = [part for part in (read_part(part_path(work, name)) for name in names) if part is not None]
        if not any(rows for _, rows in parts):
            remove_path(work)
            raise DatasetError(self._explain_empty())
        _write_index_files(work, parts, dict(self.plan.recipe), self.failures)
        write_report(work)
        with translate_disk_errors(self.plan.folder):
            if self.plan.folder.is_dir() and not any(self.plan.folder.iterdir()):
                self.plan.folder.rmdir()
        publish_output(work, self.plan.folder, overwrite=self.plan.overwrite)
        with translate_disk_errors(self.plan.folder):
            remove_path(self.plan.folder / PARTS_FOLDER)

    def _explain_empty(self) -> str:
        reasons = list(self.failures.values())
        if len(reasons) == 1 == len(self.plan.jobs):
            return reasons[0]
        why = f": {reasons[0]}" if reasons else ", none shows tissue in focus"
        return f"{self.plan.folder}: no slide gives a pair{why}"


def _write_index_files(
    work: Path, parts: Sequence[tuple[JsonObject, list[str]]], recipe: JsonObject, failed: Mapping[str, str]
) -> None:
    """All but the pixels, which are there; the manifest last."""
    write_atomically(work / SLIDES, (json.dumps(facts).encode() + b"\n" for facts, _ in parts))
    alike = summarise_near_duplicates(
        find_near_duplicates(PatchRecord.from_json(row) for _, rows in parts for row in rows)
    )
    header = {"wsisr": __version__, "recipe": recipe, "failed": list(failed.values()), "look_alikes": alike}
    write_atomically(work / HEADER, [json.dumps(header, indent=2).encode() + b"\n"])
    write_atomically(work / MANIFEST, (f"{row}\n".encode() for _, rows in parts for row in rows))


def _check_folder(plan: DatasetPlan) -> None:
    folder = plan.folder
    if not folder.name:
        raise DatasetError(f"{folder}: has no name of its own; give the name of a new folder")
    with translate_disk_errors(folder):
        empty = folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())
        parent = folder.parent.is_dir()
    if parent and not empty:
        check_output(folder, overwrite=plan.overwrite, marker=MANIFEST)


def build_part(job: DatasetJob, work: Path, stop: StopSignal) -> str | None:
    """Makes one part; why that cannot be, where it is the slide's fault. Raises `OutputError`, `Stopped`."""
    try:
        with threadpool_limits(1), open_shard_writer(work, job.name) as part:
            facts = job(part, stop)
            records = part.records
        write_part(part_path(work, job.name), job.identity, facts, records)
    except OutputError:
        raise
    except WsisrError as error:
        return str(error)
    return None


def _run_jobs(due: Sequence[DatasetJob], work: Path, workers: int) -> Iterator[tuple[DatasetJob, str | None] | None]:
    """Jobs as they finish, in whatever order, each with its failure; None now and then, so that a wish is heard.

    Left early, what is in hand ends at its next look at the wish to stop.
    """
    # One job at a time needs no process of its own, which takes a second or two to begin.
    together = min(workers, len(due))
    return _run_in_processes(due, work, together) if together > 1 else _run_in_thread(due, work)


def _run_in_processes(
    due: Sequence[DatasetJob], work: Path, workers: int
) -> Iterator[tuple[DatasetJob, str | None] | None]:
    with closing(run_in_processes(partial(_build_part_in_process, work=work), due, workers)) as happenings:
        for each in happenings:
            if isinstance(each, WorkerDied):
                raise DatasetError(f"a worker process was ended from outside ({each.reason}); give fewer --jobs")
            yield (due[each.job], each.result) if isinstance(each, JobDone) else None


def _build_part_in_process(job: DatasetJob, link: Channel, work: Path) -> str | None:
    return build_part(job, work, StopSignal(link.stop))


def _run_in_thread(due: Sequence[DatasetJob], work: Path) -> Iterator[tuple[DatasetJob, str | None] | None]:
    event = threading.Event()
    pool = ThreadPoolExecutor(1)
    try:
        for job in due:
            coming = pool.submit(build_part, job, work, StopSignal(event))
            while not wait([coming], HEARTBEAT_S).done:
                yield None
            yield job, coming.result()
    finally:
        event.set()
        pool.shutdown(cancel_futures=True)
