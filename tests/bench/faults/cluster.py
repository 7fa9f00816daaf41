"""Runs on a cluster: the same bytes whatever happens, what workers cost, and how many of them one client can serve.

    python -m tests.bench cluster SLIDE [--points 1 2 3] [--side 1024] [--model NAME] [--tile-px 128]
        [--trials 3] [--rounds 3] [--workers 1 8 32] [--wait 1.0] [--tasks-side 4096] [--json FILE]

Point 1, exactness: the result of one process is compared with those of 1, 2 and 4 local workers, of a late one, and, in
so many trials, of runs of which a worker, the client or the scheduler is killed at a random moment and, for the last
two, the same command is given again. `different` counts results with another byte.

Point 2, efficiency: two workers with a core each against one process with two cores, in turns; output Mpx/s without
start-up, and the median ratio.

Point 3, scaling: workers whose network waits instead of computing, while all else is real. `ideal` is what the waiting
alone would allow, `share` what of it was reached; `client_cpu` and `scheduler_cpu` are the shares of a core that they
took, `workers_cpu` that of all workers together: what comes near the number of cores is what binds. Memory is the
largest resident size.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil

from tests.bench.repeated_slides import repeated, tissue
from tests.bench.result_tables import Row, report
from wsisr.cluster.place import ClusterPlace
from wsisr.cluster.remote import run_cluster_job
from wsisr.cluster.session import ClusterSession, open_session
from wsisr.errors import WsisrError
from wsisr.imaging.geometry import Size
from wsisr.models import loading
from wsisr.upscaling.job import Advanced, Finished, run_job
from wsisr.upscaling.report import UpscaleReport
from wsisr.upscaling.request import UpscaleRequest

WAITING_WORKER = """
import time
from wsisr.models import loading
from wsisr.models.upscaler import Resampling

class Waiting(Resampling):
    def __call__(self, tiles):
        time.sleep({seconds} * len(tiles))
        return super().__call__(tiles)

loading.load_upscaler = lambda model=None, *, scale, **_: Waiting("bicubic", scale)
"""
"""Python code that Dask runs in each worker when it starts."""


def finish(request: UpscaleRequest, session: ClusterSession | None = None) -> UpscaleReport:
    events = run_cluster_job(request, session) if session else run_job(request, loading)
    return next(event.report for event in events if isinstance(event, Finished))


@contextmanager
def scheduler(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A scheduler in a process of its own, and its address."""
    file = folder / f"scheduler-{time.monotonic_ns()}.json"
    words = ["-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    with process(words) as started:
        while not file.exists() or '"address"' not in file.read_text():
            time.sleep(0.05)
        yield file.read_text().split('"address": "')[1].split('"')[0], started


@contextmanager
def worker(address: str, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    words = ["-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard", "--memory-limit", "0"]
    with process([*words, *more]) as started:
        yield started


@contextmanager
def process(words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield started
    finally:
        end(started)


def end(started: subprocess.Popen[bytes]) -> None:
    """Kill a process with its children, at once."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(started.pid).children(recursive=True):
            child.kill()
    started.kill()
    started.wait()


def run_local(request: UpscaleRequest, count: int) -> None:
    with open_session(ClusterPlace.parse(f"local:{count}"), warn=lambda _: None) as session:
        finish(request, session)


def run_with_late_worker(request: UpscaleRequest, folder: Path) -> None:
    with (
        scheduler(folder) as (address, _),
        worker(address),
        open_session(ClusterPlace.parse(address), warn=lambda _: None) as session,
    ):
        events = run_cluster_job(request, session)
        next(event for event in events if isinstance(event, Advanced) and event.progress.done)
        with worker(address):
            for _event in events:
                pass


def run_with_killed_worker(request: UpscaleRequest, after: float) -> None:
    with open_session(ClusterPlace.parse("local:3"), warn=lambda _: None) as session:
        began, is_killed = 0.0, False
        for event in run_cluster_job(request, session):
            if not isinstance(event, Advanced):
                continue
            began = began or time.monotonic()
            if not is_killed and time.monotonic() - began >= after:
                is_killed = True
                with suppress(ProcessLookupError):
                    os.kill(random.choice(list(session.client.run(os.getpid).values())), signal.SIGKILL)


def run_with_killed_client(request: UpscaleRequest, after: float) -> None:
    words = ["-m", "wsisr", "upscale", str(request.slide), "-o", str(request.output), "--scale", "2", "--quiet"]
    words += ["--model", str(request.model), "--tile-px", str(request.tile_px), "--cluster", "local:2"]
    with process(words) as client:
        part = Path(f"{request.output}.wsisr-part")
        while client.poll() is None and not part.exists():
            time.sleep(0.02)
        time.sleep(after)
    if not request.output_path.exists():
        run_local(request, 2)


def run_with_killed_scheduler(request: UpscaleRequest, folder: Path, after: float) -> None:
    with scheduler(folder) as (address, started), worker(address):
        killer = threading.Timer(after, lambda: end(started))
        with suppress(WsisrError), open_session(ClusterPlace.parse(address), warn=lambda _: None) as session:
            events = run_cluster_job(request, session)
            next(event for event in events if isinstance(event, Advanced))
            killer.start()
            for _event in events:
                pass
        killer.cancel()
    if not request.output_path.exists():
        run_local(request, 1)


def compare(asked: argparse.Namespace, slide: Path, folder: Path) -> list[Row]:
    """Point 1."""

    def make(name: str) -> UpscaleRequest:
        return UpscaleRequest(
            slide, output=folder / f"{name}.ome.tif", scale=2, model=asked.model, tile_px=asked.tile_px, overwrite=False
        )

    one = make("one")
    seconds = finish(one).seconds
    expected = one.output_path.read_bytes()
    draw = random.Random(0).uniform
    ways: dict[str, tuple[int, Callable[[UpscaleRequest], None]]] = {
        "1 worker": (1, lambda request: run_local(request, 1)),
        "2 workers": (1, lambda request: run_local(request, 2)),
        "4 workers": (1, lambda request: run_local(request, 4)),
        "a worker comes late": (1, lambda request: run_with_late_worker(request, folder)),
        "one of three workers killed": (
            asked.trials,
            lambda request: run_with_killed_worker(request, draw(0, seconds / 2)),
        ),
        "client killed": (asked.trials, lambda request: run_with_killed_client(request, draw(0, seconds))),
        "scheduler killed": (
            asked.trials,
            lambda request: run_with_killed_scheduler(request, folder, draw(0, seconds)),
        ),
    }
    rows: list[Row] = []
    for name, (trials, run) in ways.items():
        different = 0
        for number in range(trials):
            request = make(f"{name} {number}".replace(" ", "-"))
            run(request)
            different += request.output_path.read_bytes() != expected
            request.output_path.unlink()
        rows.append({"what happens": name, "trials": trials, "different": different})
        report(rows[-1:], None)
    return rows


def measure_efficiency(asked: argparse.Namespace, slide: Path, folder: Path) -> list[Row]:
    """Point 2."""
    request = UpscaleRequest(
        slide, output=folder / "turn.ome.tif", scale=2, model=asked.model, tile_px=asked.tile_px, overwrite=True
    )
    ratios, rates = [], []
    with open_session(ClusterPlace.parse("local:2"), warn=lambda _: None) as session:
        finish(request, session)  # workers load the network here, as one process does before its clock starts
        finish(request)
        for _ in range(asked.rounds):
            one, two = finish(request), finish(request, session)
            pixels = one.size.pixel_count / 1e6
            rates.append((pixels / one.seconds, pixels / two.seconds))
            ratios.append(one.seconds / two.seconds)
    return [
        {
            "one process, Mpx/s": median(rate for rate, _ in rates),
            "two workers, Mpx/s": median(rate for _, rate in rates),
            "ratio": median(ratios),
            "from": min(ratios),
            "to": max(ratios),
        }
    ]


def time_tiles(request: UpscaleRequest, session: ClusterSession) -> tuple[int, float]:
    """Run a request, and return its output pixels and the seconds until the last tile was stored."""
    began = stored = pixels = 0.0
    for event in run_cluster_job(request, session):
        if isinstance(event, Advanced) and event.progress.stage == "upscale":
            began, stored, pixels = began or time.monotonic(), time.monotonic(), event.progress.total
    return int(pixels), stored - began


class Meter:
    """Processor time and largest memory of processes, from `start` to `stop`."""

    def __init__(self, processes: Sequence[psutil.Process]) -> None:
        self._processes, self._end = processes, threading.Event()
        self.largest = 0
        self._thread = threading.Thread(target=self._watch)
        self._began, self._before = time.monotonic(), self._sum_cpu()
        self._thread.start()

    def stop(self) -> float:
        """Return the cores that they took."""
        self._end.set()
        self._thread.join()
        return (self._sum_cpu() - self._before) / (time.monotonic() - self._began)

    def _watch(self) -> None:
        while not self._end.wait(0.2):
            with suppress(psutil.Error):
                self.largest = max(self.largest, sum(process.memory_info().rss for process in self._processes))

    def _sum_cpu(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self._processes)


def measure_scaling(asked: argparse.Namespace, slide: Path, folder: Path, count: int) -> Row:
    """Point 3, for so many workers."""
    preload = folder / "waiting.py"
    preload.write_text(WAITING_WORKER.format(seconds=asked.wait))
    request = UpscaleRequest(
        slide, output=folder / "scaling.ome.tif", scale=2, model="bicubic", tile_px=asked.tile_px, overwrite=True
    )
    more = ("--nworkers", str(count), "--preload", str(preload))
    with (
        scheduler(folder) as (address, started),
        worker(address, *more) as nanny,
        open_session(ClusterPlace.parse(address), warn=lambda _: None) as session,
    ):
        session.client.wait_for_workers(count)
        workers = psutil.Process(nanny.pid).children(recursive=True)
        meters = [Meter([psutil.Process()]), Meter([psutil.Process(started.pid)]), Meter(workers)]
        pixels, seconds = time_tiles(request, session)
        client, scheduled, worked = (meter.stop() for meter in meters)
    tiles = (-(-asked.tasks_side // asked.tile_px)) ** 2
    rate, ideal = pixels / 1e6 / seconds, pixels / 1e6 / (-(-tiles // count) * asked.wait)
    return {
        "workers": count,
        "Mpx/s": rate,
        "ideal": ideal,
        "share": rate / ideal,
        "client_cpu": client,
        "scheduler_cpu": scheduled,
        "workers_cpu": worked,
        "client MB": meters[0].largest / 1e6,
        "scheduler MB": meters[1].largest / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--points", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--side", type=int, default=1024, help="side of the slide of points 1 and 2, in px")
    parser.add_argument("--model", default="masrgan-x2-fast")
    parser.add_argument("--tile-px", type=int, default=128)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--wait", type=float, default=1.0, help="seconds that a tile waits in point 3")
    parser.add_argument("--tasks-side", type=int, default=4096, help="side of the slide of point 3, in px")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows: list[Row] = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        pattern = tissue(asked.slide)
        if {1, 2} & set(asked.points):
            slide = repeated(folder / "slide.tif", Size(asked.side, asked.side), pattern)
            rows += compare(asked, slide, folder) if 1 in asked.points else []
            rows += measure_efficiency(asked, slide, folder) if 2 in asked.points else []
        if 3 in asked.points:
            slide = repeated(folder / "large.tif", Size(asked.tasks_side, asked.tasks_side), pattern)
            rows += [measure_scaling(asked, slide, folder, count) for count in asked.workers]
    for keys in dict.fromkeys(tuple(row) for row in rows):
        report([row for row in rows if tuple(row) == keys], asked.json)


if __name__ == "__main__":
    main()
