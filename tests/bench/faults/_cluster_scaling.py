"""What one client and one scheduler can serve: workers that wait in the place of computing, and a very large slide."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench.faults._dask_processes import process, scheduler
from tests.bench.repeated_slides import glass, repeated, whole_tiles
from tests.bench.result_tables import Row
from wsisr.cluster.place import ClusterPlace
from wsisr.cluster.remote import run_cluster_job
from wsisr.cluster.session import ClusterSession, open_session
from wsisr.imaging.geometry import Size
from wsisr.upscaling.job import Advanced, Started
from wsisr.upscaling.request import UpscaleRequest

TILE_PX = 256
"""Side of a waiting worker's tile, in input px."""

LARGE_TILE_PX = 1024
"""Side of a tile of the slide that memory is measured with."""

STORED_TILE_BYTES = 6500
"""Of a fake result's tiles of 256 px squared: 0.1 MB/Mpx, as of a slide with as much glass as tissue."""

LINK_BYTES = 125e6
"""Bytes a second of Gigabit Ethernet."""


class Meter:
    """Processor time and largest memory of processes, from its making to `stop`."""

    def __init__(self, processes: Sequence[psutil.Process]) -> None:
        self._processes, self._end = processes, threading.Event()
        self.samples = [self._sum_memory()]
        """Resident bytes, five times a second."""
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._before = self._sum_cpu()
        self.cpu_seconds = 0.0
        self._thread.start()

    def stop(self) -> None:
        """Stop measuring."""
        self.cpu_seconds = self._sum_cpu() - self._before
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.2):
            with suppress(psutil.Error):
                self.samples.append(self._sum_memory())

    def _sum_memory(self) -> int:
        return sum(process.memory_info().rss for process in self._processes)

    def _sum_cpu(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self._processes)


@dataclass(frozen=True, slots=True)
class Flow:
    """What was measured while tiles came in, from the first task to the last stored tile."""

    mpx: float
    """Output pixels of level 0, in millions."""
    seconds: float
    stored_bytes: int
    client: Meter
    scheduler: Meter
    workers: Meter


@contextmanager
def open_fake_cluster(
    folder: Path, count: int, *way: str
) -> Iterator[tuple[ClusterSession, psutil.Process, list[psutil.Process]]]:
    """Context: a session with so many workers without a network, its scheduler and the workers."""
    with (
        scheduler(folder) as (address, scheduling),
        process(["-m", "tests.bench.faults._waiting_workers", address, str(count), *way]) as host,
        open_session(ClusterPlace.parse(address), warn=print) as session,
    ):
        session.client.wait_for_workers(count, timeout=300)
        workers = psutil.Process(host.pid).children()
        yield session, psutil.Process(scheduling.pid), workers


def measure_flow(
    request: UpscaleRequest, session: ClusterSession, scheduling: psutil.Process, workers: Sequence[psutil.Process]
) -> Flow:
    """Run a request until its last tile is stored; the file is not finished."""
    with closing(run_cluster_job(request, session)) as events:
        next(event for event in events if isinstance(event, Started))
        began = time.monotonic()
        meters = [Meter([psutil.Process()]), Meter([scheduling]), Meter(workers)]
        steps = (event.progress for event in events if isinstance(event, Advanced))
        last = next(step for step in steps if step.stage == "upscale" and step.done == step.total)
        seconds = time.monotonic() - began
        for meter in meters:
            meter.stop()
        files = (path for path in request.output_path.parent.rglob("*") if path.is_file())
        stored = sum(path.stat().st_size for path in files)
    return Flow(last.total / 1e6, seconds, stored, *meters)


def measure_scaling(pattern: Sequence[Sequence[bytes]], folder: Path, count: int, tiles: int, wait: float) -> Row:
    """Time so many workers, with so many tiles for each."""
    slide = repeated(folder / f"slide-{count}.tif", Size(count * TILE_PX, tiles * TILE_PX), pattern)
    request = UpscaleRequest(
        slide, output=folder / f"out-{count}" / "out.ome.tif", scale=2, model="bicubic", tile_px=TILE_PX
    )
    request.output_path.parent.mkdir()
    with open_fake_cluster(folder, count, "--wait", str(wait)) as (session, scheduling, workers):
        flow = measure_flow(request, session, scheduling, workers)
    rate, ideal = flow.mpx / flow.seconds, count * 4 * TILE_PX**2 / 1e6 / wait
    return {
        "workers": count,
        "tiles": count * tiles,
        "Mpx/s": rate,
        "of waiting alone": rate / ideal,
        "client ms/Mpx": 1e3 * flow.client.cpu_seconds / flow.mpx,
        "scheduler ms/Mpx": 1e3 * flow.scheduler.cpu_seconds / flow.mpx,
        "worker ms/Mpx": 1e3 * flow.workers.cpu_seconds / flow.mpx,
        "MB/Mpx": flow.stored_bytes / 1e6 / flow.mpx,
        "client MB": max(flow.client.samples) / 1e6,
        "scheduler MB": max(flow.scheduler.samples) / 1e6,
    }


def add_efficiency(rows: Sequence[Row]) -> None:
    """Add to each row what a worker does of what it does in the first row, where the fewest work."""
    first = float(rows[0]["Mpx/s"]) / float(rows[0]["workers"])
    for row in rows:
        row["efficiency"] = float(row["Mpx/s"]) / float(row["workers"]) / first


def describe_limits(row: Row) -> list[Row]:
    """Return what client, scheduler and network could carry at most, that which binds first at the top."""
    limits = {
        "one core of the client": 1e3 / float(row["client ms/Mpx"]),
        "one core of the scheduler": 1e3 / max(float(row["scheduler ms/Mpx"]), 1e-9),
        "a link of 1 Gbit/s": LINK_BYTES / 1e6 / float(row["MB/Mpx"]),
    }
    return [{"binds": name, "at Mpx/s": limit} for name, limit in sorted(limits.items(), key=lambda item: item[1])]


def measure_memory(folder: Path, side: int) -> Row:
    """Measure client and scheduler for a slide of so many px squared, for which two workers send fake results."""
    size = whole_tiles(side**2)
    slide = repeated(folder / f"large-{side}.tif", size, [[glass()]])
    request = UpscaleRequest(
        slide,
        output=folder / f"fake-{side}" / "out.ome.tif",
        scale=2,
        model="bicubic",
        tile_px=LARGE_TILE_PX,
        tissue="none",
    )
    request.output_path.parent.mkdir()
    with open_fake_cluster(folder, 2, "--fake", str(STORED_TILE_BYTES)) as (session, scheduling, workers):
        before = psutil.Process().memory_info().rss
        flow = measure_flow(request, session, scheduling, workers)
    slide.unlink()
    samples = flow.client.samples
    half = len(samples) // 2
    return {
        "side, px": size.width,
        "tasks' tiles": (-(-size.width // LARGE_TILE_PX)) ** 2,
        "seconds": flow.seconds,
        "client ms/Mpx": 1e3 * flow.client.cpu_seconds / flow.mpx,
        "client before, MB": before / 1e6,
        "client, first half": max(samples[: half + 1]) / 1e6,
        "client, second half": max(samples[half:]) / 1e6,
        "scheduler MB": max(flow.scheduler.samples) / 1e6,
    }
