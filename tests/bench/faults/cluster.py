"""Runs on a cluster: the same bytes whatever happens, what workers cost, and how many of them one client can serve.

    python -m tests.bench cluster SLIDE [--points 1 2 3 4] [--side 1024] [--model NAME] [--tile-px 128]
        [--trials 3] [--rounds 3] [--workers 1 8 32] [--wait 2] [--tiles 24] [--sides 12800 100000] [--json FILE]

Point 1, exactness: the result of one process is compared with those of 1, 2 and 4 local workers, of a late one, and, in
so many trials (twice as many for the worker), of runs of which a worker, the client or the scheduler is killed at a
random moment and, for the last two, the same command is given again. `different` counts results with another byte.

Point 2, efficiency: two workers with a core each against one process with two cores, in turns; output Mpx/s without
start-up, and the median ratio.

Point 3, scaling: real workers, each a process of its own, whose network waits for each tile in the place of computing,
while all else is real: reading, bicubic, encoding, scheduler, client, stored tiles. The slide grows with the workers:
`--tiles` tiles of 256 px for each. `of waiting alone` is the share of the speed that the waits would allow,
`efficiency` what a worker does beside the fewest workers. The workers' own work needs `worker ms/Mpx` of a core, and
where all cores are taken the shares are lower bounds. The second table says what binds first where cores do not lack.

Point 4, memory: client and scheduler for slides of so many px squared, while two workers send fake results: the
tiles of one block, encoded once and 0.1 MB/Mpx long, for all others. The client stores them all (4 GB for 100,000 px
squared), and does not finish the file.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.bench.faults._cluster_scaling import add_efficiency, describe_limits, measure_memory, measure_scaling
from tests.bench.faults._dask_processes import end, process, scheduler, worker
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


def finish(request: UpscaleRequest, session: ClusterSession | None = None) -> UpscaleReport:
    events = run_cluster_job(request, session) if session else run_job(request, loading)
    return next(event.report for event in events if isinstance(event, Finished))


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
            2 * asked.trials,
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--points", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--side", type=int, default=1024, help="side of the slide of points 1 and 2, in px")
    parser.add_argument("--model", default="masrgan-x2-fast")
    parser.add_argument("--tile-px", type=int, default=128)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--wait", type=float, default=2.0, help="seconds that a tile waits in point 3")
    parser.add_argument("--tiles", type=int, default=24, help="tiles for each worker in point 3")
    parser.add_argument("--sides", type=int, nargs="+", default=[12800, 100000], help="slides of point 4, in px")
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
            scaled = []
            for count in asked.workers:
                scaled.append(measure_scaling(pattern, folder, count, asked.tiles, asked.wait))
                report(scaled[-1:], None)
            add_efficiency(scaled)
            rows += [*scaled, *describe_limits(scaled[-1])]
        if 4 in asked.points:
            for side in sorted(asked.sides):
                rows.append(measure_memory(folder, side))
                report(rows[-1:], None)
    report_tables(rows, asked.json)


def report_tables(rows: list[Row], path: Path | None) -> None:
    """Print a table for each kind of row; the file holds all rows."""
    for keys in dict.fromkeys(map(tuple, rows)):
        report([row for row in rows if tuple(row) == keys], None)
    if path:
        report(rows, path)


if __name__ == "__main__":
    main()
