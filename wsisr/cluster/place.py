"""Cluster place: where the workers of a run are, or by what they are started. All contact with Dask's clusters."""

from __future__ import annotations

import logging
import re
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from wsisr.errors import ClusterError, OptionError, describe_error
from wsisr.parallel.cpu import count_usable_cores

CORES_PER_LOCAL_WORKER = 4
"""Cores of each process of `local`: tasks in threads share one network and one interpreter lock."""

CONNECT_S = 10.0
"""Seconds after which a scheduler that does not answer counts as missing."""

DEATHS_PER_TASK = 3
"""Workers that a task may kill before it is given up, on clusters that this process starts."""

SYSTEMS = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "lsf": "LSFCluster",
    "sge": "SGECluster",
    "oar": "OARCluster",
    "moab": "MoabCluster",
    "htcondor": "HTCondorCluster",
    "local": "local.LocalCluster",
}
"""Sections of dask-jobqueue's configuration, and its classes."""

_WHERE = "give local, local:N, the address of a scheduler (tcp://HOST:8786) or a YAML file of dask-jobqueue"


@dataclass(frozen=True, slots=True)
class ClusterPlace:
    """Where the workers are. Parsed without Dask."""

    text: str
    """As the user gave it."""
    least_workers: int = 0
    most_workers: int = 0
    """0 for a scheduler, whose workers others start."""

    @classmethod
    def parse(cls, where: str, workers: str | None = None) -> ClusterPlace:
        """Return the place that `--cluster` and `--workers` name. Raises `OptionError`."""
        if re.fullmatch(r"[a-z]+://\S+", where):
            if workers:
                raise OptionError(f"whoever started {where} starts its workers; leave it out", option="--workers")
            return cls(where)
        if local := re.fullmatch(r"local(?::(\d{1,4}))?", where):
            if workers:
                raise OptionError("is for a YAML file; give --cluster local:N", option="--workers")
            count = int(local[1] or max(1, count_usable_cores() // CORES_PER_LOCAL_WORKER))
            if not count:
                raise OptionError("give local:N with a number from 1", option="--cluster")
            return cls(where, count, count)
        if Path(where).suffix.lower() not in (".yaml", ".yml"):
            raise OptionError(f"{where} is no cluster; {_WHERE}", option="--cluster")
        if not Path(where).is_file():
            raise OptionError(f"{where}: no such file; {_WHERE}", option="--cluster")
        if workers is None:
            raise OptionError("say how many of them to start, as 8 or 1:40", option="--workers")
        return cls(where, *_parse_worker_counts(workers))

    @property
    def is_scheduler(self) -> bool:
        return "://" in self.text

    @property
    def is_local(self) -> bool:
        return self.text.startswith("local")


def _parse_worker_counts(workers: str) -> tuple[int, int]:
    numbers = re.fullmatch(r"(\d{1,5})(?::(\d{1,5}))?", workers)
    least, most = (int(numbers[1]), int(numbers[2] or numbers[1])) if numbers else (0, 0)
    if not least or least > most:
        raise OptionError(f"give a number from 1, or two as 1:40, not {workers}", option="--workers")
    return least, most


@contextmanager
def connect_client(place: ClusterPlace) -> Iterator[Any]:
    """Context: a `distributed.Client` of the place. What was started for it ends with the context.

    Raises `ClusterError` if there is no such scheduler, or a cluster cannot be started.
    """
    try:
        import dask  # noqa: PLC0415
        import distributed  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ClusterError(f"{error.name} is missing; install wsisr[cluster]") from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters of it, this program says itself
    settings = {"distributed.scheduler.allowed-failures": DEATHS_PER_TASK - 1}
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(settings))
        target = place.text if place.is_scheduler else stack.enter_context(_start_cluster(place))
        try:
            make_client: Any = distributed.Client
            client = make_client(target, timeout=CONNECT_S, set_as_default=False, direct_to_workers=True)
        except (OSError, ValueError) as error:
            reason = describe_error(error) if isinstance(error, ValueError) else "does not answer"
            advice = "is `dask scheduler` running there, and may this machine reach it?"
            raise ClusterError(f"{place.text}: {reason}; {advice}") from error
        stack.callback(_close_quietly, client)
        yield client


@contextmanager
def _start_cluster(place: ClusterPlace) -> Iterator[Any]:
    with _ignore_terminal_signals():
        cluster = _start_local(place.most_workers) if place.is_local else _start_jobs(place)
    try:
        yield cluster
    finally:
        _close_quietly(cluster)


def _start_local(count: int) -> Any:
    import distributed  # noqa: PLC0415

    start_cluster: Any = distributed.LocalCluster
    return start_cluster(
        n_workers=count,
        threads_per_worker=max(1, count_usable_cores() // count),
        memory_limit=0,  # the memory of this machine is its user's to give, as without a cluster
        dashboard_address=":0",
        silence_logs=logging.CRITICAL,
    )


def _start_jobs(place: ClusterPlace) -> Any:
    """Start a cluster of dask-jobqueue as a file configures it, and ask for its jobs."""
    try:
        import dask  # noqa: PLC0415
        import dask_jobqueue  # noqa: PLC0415
        import dask_jobqueue.local  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ClusterError(f"{error.name} is missing; install wsisr[cluster]") from error
    system, options = read_jobqueue_file(Path(place.text))
    check_jobqueue_keys(Path(place.text), system, options)
    dask.config.update(dask.config.config, {"jobqueue": {system: options}}, priority="new")
    module, _, name = SYSTEMS[system].rpartition(".")
    make_cluster = getattr(getattr(dask_jobqueue, module) if module else dask_jobqueue, name)
    submissions = Submissions()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"(?s)Port \d+ is already in use")  # by others' dashboards
            cluster = make_cluster(job_cls=_note_submissions(make_cluster.job_cls, submissions))
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        raise ClusterError(f"{place.text}: dask-jobqueue refuses it ({describe_error(error)})") from error
    cluster.submissions = submissions
    if place.least_workers == place.most_workers:
        cluster.scale(place.most_workers)
    else:
        cluster.adapt(minimum=place.least_workers, maximum=place.most_workers)
    return cluster


@dataclass(slots=True)
class Submissions:
    """What became of the jobs that a batch system was asked for. dask-jobqueue tells nobody of refused ones."""

    accepted: int = 0
    refusal: str | None = None
    """Why the last one was refused that was."""


def _note_submissions(job_class: Any, submissions: Submissions) -> Any:
    """Return a class of jobs of dask-jobqueue that also notes what becomes of each."""

    from distributed.core import Status  # noqa: PLC0415

    class NotedJob(job_class):  # type: ignore[misc]
        async def start(self) -> None:
            try:
                await super().start()
            except (OSError, RuntimeError, ValueError) as error:
                # Raised, it would end as a traceback that nobody catches; so the job is one that never joins.
                submissions.refusal = _describe_refusal(self.submit_command, error)
                self.status = Status.running
            else:
                submissions.accepted += 1

    return NotedJob


def _describe_refusal(command: str, error: Exception) -> str:
    """Return in a line why a job could not be submitted: what the command of the batch system said last."""
    if isinstance(error, FileNotFoundError):
        return f"this machine has no {command}; start the run where jobs can be submitted"
    _, _, said = str(error).partition("stderr:\n")
    lines = said.split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), f"{command}: {describe_error(error)}")


def find_submissions(client: Any) -> Submissions:
    """Return what became of a client's jobs; of clusters that submit none, that nothing did."""
    submissions = getattr(client.cluster, "submissions", None)
    return submissions if isinstance(submissions, Submissions) else Submissions()


def read_jobqueue_file(path: Path) -> tuple[str, Mapping[str, Any]]:
    """Return the batch system that a YAML file of dask-jobqueue configures, and its options.

    Raises `ClusterError` where the file has another form.
    """
    import yaml  # noqa: PLC0415

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ClusterError(f"{path}: is no YAML that can be read ({describe_error(error)})") from error
    sections = content.get("jobqueue") if isinstance(content, dict) else None
    if not isinstance(sections, dict) or len(sections) != 1:
        raise ClusterError(f"{path}: needs `jobqueue:` with one batch system below it ({', '.join(SYSTEMS)})")
    ((system, options),) = sections.items()
    if system not in SYSTEMS:
        raise ClusterError(f"{path}: there is no batch system {system}; choose {', '.join(SYSTEMS)}")
    if not isinstance(options, dict):
        raise ClusterError(f"{path}: {system} has no options; it needs at least cores and memory")
    return system, options


def check_jobqueue_keys(path: Path, system: str, options: Mapping[str, Any]) -> None:
    """Raise `ClusterError` for a key that dask-jobqueue does not have: it would leave it out without a word."""
    import dask  # noqa: PLC0415
    import dask_jobqueue  # noqa: F401, PLC0415 - brings its keys with their defaults

    known = {key.replace("_", "-") for key in dask.config.get(f"jobqueue.{system}")}
    unknown = [key for key in options if str(key).replace("_", "-") not in known]
    if unknown:
        raise ClusterError(f"{path}: dask-jobqueue has no {unknown[0]} for {system}; it has {', '.join(sorted(known))}")


def _close_quietly(closable: Any) -> None:
    """Close a client or a cluster; one that is gone already, or does not answer, is no error."""
    with suppress(OSError, TimeoutError, RuntimeError):
        closable.close(timeout=CONNECT_S)


@contextmanager
def _ignore_terminal_signals() -> Iterator[None]:
    """Context: processes that are started inside, also later by threads of Dask's, get no Ctrl-C of the terminal.

    This process answers it, and ends them.
    """
    # Python starts this process with the first child, and then unblocks the signals that are blocked here.
    resource_tracker.ensure_running()
    signals = {number for name in ("SIGINT", "SIGHUP") if (number := getattr(signal, name, None))}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def describe_dashboard(client: Any, place: ClusterPlace) -> str | None:
    """Return the address of the scheduler's dashboard; None if it has none, as a scheduler of this process without
    bokeh, which draws it."""
    if not place.is_scheduler and find_spec("bokeh") is None:
        return None
    with suppress(OSError, KeyError, ValueError, AttributeError):
        return client.dashboard_link or None
    return None
