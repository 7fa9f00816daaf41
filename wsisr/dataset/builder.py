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

from wsisr.dataset.duplicates import in_header, look_alikes
from wsisr.dataset.reader import HEADER, MANIFEST, SLIDES
from wsisr.dataset.records import PatchRecord
from wsisr.dataset.report import write_report
from wsisr.dataset.shard_writer import PARTS, Facts, Part, SlideFacts, finish, part_in, place_of, read_part
from wsisr.errors import DatasetError, OutputError, WsisrError
from wsisr.files import check_output, disk_errors, publish, remove, write_whole
from wsisr.parallel.processes import HEARTBEAT_S, Died, Done, Link, StopFlag, in_processes
from wsisr.progress import Progress
from wsisr.version import __version__
from wsisr.writing.workdir.folder import Scratch

DATASET = "dataset"


class Job(Protocol):
    """One slide, or one pair of captures, to be made a part of. It is pickled: a frozen dataclass at module level."""

    @property
    def name(self) -> str:
        """File name of the part, without suffix; unique within the dataset."""
        ...

    @property
    def place(self) -> str:
        """What the job is called in an error: the path of its slide."""
        ...

    @property
    def identity(self) -> Mapping[str, str]:
        """What its part depends on, in words: a finished part of another identity is made again."""
        ...

    def __call__(self, part: Part, stop: Stop) -> SlideFacts:
        """Raises a `WsisrError` that begins with a path where the slide cannot be used; `stop.check()` now and then."""
        ...


class Stopped(Exception):  # noqa: N818 - no error: somebody wanted it
    """A part was left in its midst because the run is to end."""


@dataclass(frozen=True)
class Stop:
    """The wish to end, as the work sees it."""

    event: StopFlag

    def check(self) -> None:
        """Raises `Stopped` where it was uttered; to be called some times a second."""
        if self.event.is_set():
            raise Stopped


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be put together."""

    folder: Path
    jobs: Sequence[Job]
    recipe: Mapping[str, str]
    """What all parts depend on: names to values in words."""
    workers: int = 1
    overwrite: bool = False
    """Replace a dataset of that name, and drop what another run began."""


class Assembly:
    """A run that makes a dataset."""

    def __init__(self, plan: Plan) -> None:
        """Raises `OutputError` where the dataset could not get its name; nothing is written yet."""
        self.plan = plan
        self.failed: dict[str, str] = {}
        """Part to the line that says why its slide could not be used; grows meanwhile."""
        self.reused = 0
        """Parts that an earlier run had finished."""
        _check_name(plan)

    def __iter__(self) -> Generator[Progress, None, None]:
        """Yields `slides`. Raises `DatasetError` where no slide gives a pair; left early, the work stays.

        Raises `OutputError` where the disk refuses or another run is at it; what is finished stays.
        """
        plan = self.plan
        with disk_errors(plan.folder):
            plan.folder.parent.mkdir(parents=True, exist_ok=True)
            scratch = Scratch(plan.folder)
        work = scratch.folder / DATASET
        try:
            with disk_errors(plan.folder):
                scratch.take_up(dict(plan.recipe), restart=plan.overwrite)
            yield from self._parts(work)
            self._conclude(work)
        finally:
            scratch.leave(keep=any(work.glob(f"{PARTS}/*.jsonl")))

    def _parts(self, work: Path) -> Generator[Progress, None, None]:
        due = [job for job in self.plan.jobs if read_part(place_of(work, job.name), job.identity) is None]
        self.reused = before = len(self.plan.jobs) - len(due)
        total = len(self.plan.jobs)
        yield Progress("slides", before, total, before)
        done = before
        for finished in _attempts(due, work, self.plan.workers):
            if finished is not None:
                done += 1
                job, failure = finished
                if failure is not None:
                    self.failed[job.name] = failure
            yield Progress("slides", done, total, before)

    def _conclude(self, work: Path) -> None:
        """Gives the dataset its name."""
        names = [job.name for job in self.plan.jobs if job.name not in self.failed]
        parts = [part for part in (read_part(place_of(work, name)) for name in names) if part is not None]
        if not any(rows for _, rows in parts):
            remove(work)
            raise DatasetError(self._nothing())
        _write(work, parts, dict(self.plan.recipe), self.failed)
        write_report(work)
        with disk_errors(self.plan.folder):
            if self.plan.folder.is_dir() and not any(self.plan.folder.iterdir()):
                self.plan.folder.rmdir()
        publish(work, self.plan.folder, overwrite=self.plan.overwrite)
        with disk_errors(self.plan.folder):
            remove(self.plan.folder / PARTS)

    def _nothing(self) -> str:
        reasons = list(self.failed.values())
        if len(reasons) == 1 == len(self.plan.jobs):
            return reasons[0]
        why = f": {reasons[0]}" if reasons else ", none shows tissue in focus"
        return f"{self.plan.folder}: no slide gives a pair{why}"


def _write(work: Path, parts: Sequence[tuple[Facts, list[str]]], recipe: Facts, failed: Mapping[str, str]) -> None:
    """All but the pixels, which are there; the manifest last."""
    write_whole(work / SLIDES, (json.dumps(facts).encode() + b"\n" for facts, _ in parts))
    alike = in_header(look_alikes(PatchRecord.from_json(row) for _, rows in parts for row in rows))
    header = {"wsisr": __version__, "recipe": recipe, "failed": list(failed.values()), "look_alikes": alike}
    write_whole(work / HEADER, [json.dumps(header, indent=2).encode() + b"\n"])
    write_whole(work / MANIFEST, (f"{row}\n".encode() for _, rows in parts for row in rows))


def _check_name(plan: Plan) -> None:
    folder = plan.folder
    if not folder.name:
        raise DatasetError(f"{folder}: has no name of its own; give the name of a new folder")
    with disk_errors(folder):
        empty = folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())
        parent = folder.parent.is_dir()
    if parent and not empty:
        check_output(folder, overwrite=plan.overwrite, marker=MANIFEST)


def attempt(job: Job, work: Path, stop: Stop) -> str | None:
    """Makes one part; why that cannot be, where it is the slide's fault. Raises `OutputError`, `Stopped`."""
    try:
        with threadpool_limits(1), part_in(work, job.name) as part:
            facts = job(part, stop)
            records = part.records
        finish(place_of(work, job.name), job.identity, facts, records)
    except OutputError:
        raise
    except WsisrError as error:
        return str(error)
    return None


def _attempts(due: Sequence[Job], work: Path, workers: int) -> Iterator[tuple[Job, str | None] | None]:
    """Jobs as they finish, in whatever order, each with its failure; None now and then, so that a wish is heard.

    Left early, what is in hand ends at its next look at the wish to stop.
    """
    # One job at a time needs no process of its own, which takes a second or two to begin.
    together = min(workers, len(due))
    return _in_processes(due, work, together) if together > 1 else _in_a_thread(due, work)


def _in_processes(due: Sequence[Job], work: Path, workers: int) -> Iterator[tuple[Job, str | None] | None]:
    with closing(in_processes(partial(_attempt, work=work), due, workers)) as happenings:
        for each in happenings:
            if isinstance(each, Died):
                raise DatasetError(f"a worker process was ended from outside ({each.why}); give fewer --jobs")
            yield (due[each.job], each.result) if isinstance(each, Done) else None


def _attempt(job: Job, link: Link, work: Path) -> str | None:
    return attempt(job, work, Stop(link.stop))


def _in_a_thread(due: Sequence[Job], work: Path) -> Iterator[tuple[Job, str | None] | None]:
    event = threading.Event()
    pool = ThreadPoolExecutor(1)
    try:
        for job in due:
            coming = pool.submit(attempt, job, work, Stop(event))
            while not wait([coming], HEARTBEAT_S).done:
                yield None
            yield job, coming.result()
    finally:
        event.set()
        pool.shutdown(cancel_futures=True)
