"""Cluster session: one run's use of a cluster. All contact with Dask's client; several threads, one a slide, share it.

Tasks are submitted in waves: as many as keep the workers busy, so that scheduler and client hold little, and so that
what waits to be fetched has a bound. Results come from the workers directly, not through the scheduler.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from wsisr.cluster import worker
from wsisr.cluster.job_spec import ModelDescription, ModelRequest, WorkerRefusal
from wsisr.cluster.place import ClusterPlace, connect_client, describe_dashboard, find_submissions
from wsisr.cluster.task_sizes import TaskSizes
from wsisr.errors import ClusterError, ClusterLostError, describe_error
from wsisr.version import __version__

TASKS_PER_THREAD = 2
"""One in work, one that waits beside it: a worker never waits for the client."""

MOST_WAITING_BYTES = 2_000_000_000
"""Results that may lie on all workers together until the client has stored them."""

HEARTBEAT_S = 0.5
"""Longest time without a sign of life to who draws progress and answers Ctrl-C."""

FIRST_ANSWERS_S = 30.0
"""Seconds that other workers have to tell what they compute with, once one has; later ones are compared at work."""

SILENCE_S = 10.0
"""Seconds without any worker after which that is said."""

LOST_S = 60.0
"""Seconds without any worker after which those of this machine count as lost: Dask starts another one in a few."""

WorkerAddress = str


class ClusterSession:
    """The workers of a run and what they are told. Close it with `open_session`."""

    def __init__(
        self, client: Any, place: ClusterPlace, *, warn: Callable[[str], None], allow_mixed: bool = False
    ) -> None:
        self.place, self.allow_mixed = place, allow_mixed
        self.run = f"wsisr-{uuid.uuid4().hex[:12]}"
        self.client = client
        self._warn = warn
        self._lock = threading.RLock()
        self._job_count = 0
        self._outstanding = self._outstanding_bytes = 0
        self._workers: Mapping[WorkerAddress, Mapping[str, Any]] = {}
        self._looked = -SILENCE_S
        self._refused: dict[WorkerAddress, str] = {}
        self._checked: set[WorkerAddress] = set()
        self._told: set[str] = set()
        self.is_lost = False
        """Whether the scheduler was found to be gone."""
        self._is_interrupted = threading.Event()
        self._without_workers_since: float | None = None
        self._descriptions: dict[ModelRequest, ModelDescription] = {}
        self.task_sizes: dict[Any, TaskSizes] = {}
        """What tasks took, by the network and the tiles."""

    @property
    def dashboard(self) -> str | None:
        """Address of the scheduler's dashboard, if it has one."""
        return describe_dashboard(self.client, self.place)

    @property
    def has_room(self) -> bool:
        """Whether the workers can take more tasks than they have."""
        threads = self.count_threads()
        with self._lock:
            if self._outstanding >= TASKS_PER_THREAD * threads:
                return False
            return self._outstanding < threads or self._outstanding_bytes < MOST_WAITING_BYTES

    def count_threads(self) -> int:
        """Count the tasks that can run at once: threads of all workers, or as many workers as may come."""
        threads = sum(int(info.get("nthreads", 1)) for info in self.list_workers().values())
        return max(1, threads, self.place.most_workers)

    def list_workers(self) -> Mapping[WorkerAddress, Mapping[str, Any]]:
        """Return what the scheduler knows of each worker, by address, at most a second old.

        Raises `ClusterLostError` once the scheduler is gone.
        """
        with self._lock:
            self.check_alive()
            if time.monotonic() - self._looked >= 1:
                try:
                    self._workers = self.client.scheduler_info(n_workers=-1)["workers"]
                except (OSError, TimeoutError, RuntimeError, ValueError) as error:
                    raise self._make_lost_error() from error
                self._looked = time.monotonic()
                self._note_absence()
            return self._workers

    def check_alive(self) -> None:
        """Raise `ClusterLostError` if the scheduler is gone."""
        if self.is_lost or self.client.status != "running":
            raise self._make_lost_error()

    def raise_if_lost(self) -> None:
        """Raise `ClusterLostError` if the scheduler was found to be gone."""
        if self.is_lost:
            raise self._make_lost_error()

    def interrupt(self) -> None:
        """Have the threads that wait for workers stop waiting."""
        self._is_interrupted.set()

    def _wait_a_moment(self) -> None:
        if self._is_interrupted.wait(HEARTBEAT_S):
            raise KeyboardInterrupt

    def _make_lost_error(self) -> ClusterLostError:
        self.is_lost = True
        return ClusterLostError(
            f"the scheduler of {self.place.text} does not answer any more; what is finished is kept, and the same "
            "command goes on from there"
        )

    def _note_absence(self) -> None:
        """Say once that there is no worker, or that a job was refused. Raises `ClusterError` if all jobs were."""
        now, submissions = time.monotonic(), find_submissions(self.client)
        if submissions.refusal and not self._workers and not submissions.accepted:
            raise ClusterError(f"{self.place.text}: the batch system refuses its jobs; {submissions.refusal}")
        if submissions.refusal:
            self.tell_once(f"{self.place.text}: the batch system refused a job; {submissions.refusal}")
        if self._workers:
            self._without_workers_since = None
        elif self._without_workers_since is None:
            self._without_workers_since = now
        elif self.place.is_local and now - self._without_workers_since > LOST_S:
            raise ClusterError(
                f"{self.place.text}: all of its workers have died, out of memory?; what is finished is kept, and the "
                "same command goes on from there"
            )
        elif now - self._without_workers_since > SILENCE_S:
            queue = "; its jobs wait in their queue, or their logs say why none came" if submissions.accepted else ""
            self.tell_once(f"{self.place.text} has no worker yet; the run waits for the first{queue}")

    def tell_once(self, text: str) -> None:
        """Warn, unless that was said before."""
        with self._lock:
            is_new = text not in self._told
            self._told.add(text)
        if is_new:
            self._warn(text)

    def describe_model(self, request: ModelRequest) -> ModelDescription:
        """Return what most of the workers compute a network with; others are refused, and said.

        Waits for a worker. Raises `ClusterError` if none can.
        """
        with self._lock:
            if request not in self._descriptions:
                self._descriptions[request] = self._compare_workers(request)
            return self._descriptions[request]

    def _compare_workers(self, request: ModelRequest) -> ModelDescription:
        answers: dict[WorkerAddress, ModelDescription | WorkerRefusal] = {}
        while not answers:
            answers = self._ask_each_worker(request)
        described = {address: answer for address, answer in answers.items() if isinstance(answer, ModelDescription)}
        refusals = [answer for answer in answers.values() if isinstance(answer, WorkerRefusal)]
        if not described:
            raise ClusterError(f"{self.place.text}: no worker can do this; {refusals[0].reason}")
        alike = [answer for answer in described.values() if answer.versions["wsisr"] == __version__]
        kinds = Counter(map(repr, alike or described.values()))
        usual = next(answer for answer in described.values() if repr(answer) == kinds.most_common(1)[0][0])
        version = usual.versions["wsisr"]
        if version != __version__:
            advice = "install one version on all"
            raise ClusterError(f"{self.place.text}: its workers have wsisr {version}, not {__version__}; {advice}")
        # Each of these refuses the first task of every job by itself, as workers that come later do.
        for refusal in refusals:
            self.tell_refusal(refusal)
        for address, answer in described.items():
            difference = usual.describe_difference(answer)
            if difference and not (self.allow_mixed and usual.is_usable_with(answer)):
                self.tell_refusal(WorkerRefusal(address, f"{difference}: it would give other pixels"))
        return usual

    def _ask_each_worker(self, request: ModelRequest) -> dict[WorkerAddress, ModelDescription | WorkerRefusal]:
        """Return what each worker of now says; of slow ones nothing. Who cannot even load this program is refused."""
        futures = self._submit_to_each(worker.describe_model, request)
        finished: queue.Queue[tuple[WorkerAddress, Any]] = queue.Queue()
        for address, future in futures.items():
            future.add_done_callback(lambda future, address=address: finished.put((address, future)))
        answers: dict[WorkerAddress, ModelDescription | WorkerRefusal] = {}
        left, until = set(futures), float("inf")
        while left and time.monotonic() < until:
            self.check_alive()
            if self._is_interrupted.is_set():
                raise KeyboardInterrupt
            with suppress(queue.Empty):
                address, future = finished.get(timeout=HEARTBEAT_S)
                left.discard(address)
                error = self.find_error(future)
                if error is None:
                    answers[address] = self.client.gather(future)
                    until = min(until, time.monotonic() + FIRST_ANSWERS_S)
                elif not isinstance(error, CancelledTaskError):
                    answers[address] = WorkerRefusal(address, describe_foreign_error(error))
                    self.refuse(WorkerRefusal(address, describe_foreign_error(error)))
            left &= set(self.list_workers())
        self.client.cancel(list(futures.values()))
        return answers

    def _submit_to_each(self, function: Callable[..., Any], *arguments: Any) -> dict[WorkerAddress, Any]:
        """Wait for a worker, and have each worker of then call a function; return a future for each."""
        while not (addresses := [address for address in self.list_workers() if address not in self._refused]):
            if self.list_workers():
                raise ClusterError(f"{self.place.text}: no worker can do this; {next(iter(self._refused.values()))}")
            self._wait_a_moment()  # in a queue of jobs for hours
        self._checked.update(addresses)
        return {
            address: self.client.submit(function, *arguments, workers=[address], pure=False, priority=10)
            for address in addresses
        }

    def find_error(self, future: Any) -> BaseException | None:
        """Return why a future that is done has no result; None if it has one."""
        self.check_alive()
        if future.status == "error":
            error = future.exception()
            assert isinstance(error, BaseException)
            return error
        return None if future.status == "finished" else CancelledTaskError("the cluster lost a task")

    def refuse(self, refusal: WorkerRefusal) -> None:
        """Give a worker nothing more of any job, and say why."""
        with self._lock:
            is_new = self._refused.setdefault(refusal.worker, refusal.reason) == refusal.reason
        if is_new:
            self.tell_refusal(refusal)

    def tell_refusal(self, refusal: WorkerRefusal, *, of_one_slide: bool = False) -> None:
        """Say why a worker gets no work: once, though what it cannot do of one slide does not hide what comes later."""
        told = f"{refusal.worker} of one slide" if of_one_slide else refusal.worker
        with self._lock:
            if not self._told.isdisjoint({told, refusal.worker}):
                return
            self._told.add(told)
        self.tell_once(f"worker {refusal.worker} gets no work: {refusal.reason}")

    def find_allowed(self, barred: Mapping[WorkerAddress, str]) -> frozenset[WorkerAddress] | None:
        """Return the workers that a job may use; None for all, as long as none has to be left out.

        Raises `ClusterError` if there are workers, and all have to be.
        """
        workers = self.list_workers()
        left_out = {**self._refused, **barred}
        if not left_out:
            return None
        allowed = frozenset(workers) - set(left_out)
        if workers and not allowed:
            reason = next(left_out[address] for address in workers)
            raise ClusterError(f"{self.place.text}: no worker can do this; {reason}")
        return allowed or None

    def check_late_workers(self) -> None:
        """Refuse the workers that came late and cannot even load this program."""
        with self._lock:
            late = [address for address in self.list_workers() if address not in self._checked]
            self._checked.update(late)
        futures = {}
        for address in late:
            futures[address] = self.client.submit(worker.read_versions, workers=[address], pure=False, priority=10)
        for address, future in futures.items():
            error = future.exception(timeout=FIRST_ANSWERS_S)
            if error is not None:
                self.refuse(WorkerRefusal(address, describe_foreign_error(error)))

    def name_job(self) -> tuple[str, int]:
        """Return a name for a job and its place in the order in which slides were begun."""
        with self._lock:
            self._job_count += 1
            return f"{self.run}-{self._job_count}", self._job_count

    def count_outstanding(self, tasks: int, nbytes: int) -> None:
        with self._lock:
            self._outstanding += tasks
            self._outstanding_bytes += nbytes

    def close(self) -> None:
        """Have the workers close what they hold open for this run."""
        with suppress(Exception):  # they may be gone; they close the rest when they end
            if self._job_count and self.client.status == "running" and self.place.is_scheduler:
                self.client.run(worker.close_jobs, self.run, wait=False, on_error="ignore")


class CancelledTaskError(Exception):
    """A task was lost by the cluster itself."""


def describe_foreign_error(error: BaseException) -> str:
    """Return in words why a worker could not even begin."""
    if isinstance(error, ImportError):
        return f"{describe_error(error)}; install the same wsisr there"
    return describe_error(error)


@contextmanager
def open_session(
    place: ClusterPlace, *, warn: Callable[[str], None], allow_mixed: bool = False
) -> Iterator[ClusterSession]:
    """Context: a session on a cluster, which is started and ended where that is this run's to do.

    Raises `ClusterError` if there is no such cluster.
    """
    with connect_client(place) as client:
        session = ClusterSession(client, place, warn=warn, allow_mixed=allow_mixed)
        try:
            yield session
        finally:
            session.close()
