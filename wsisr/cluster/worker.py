"""What runs on a worker: tiles of a job are read, computed and encoded. Slide and network stay open between tasks.

Dask runs as many tasks at a time in a worker as that has threads. On a CPU each has one core, so that a worker takes
what it was given, and no more; on a GPU they share its cores, for the threads around the network.
"""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from threading import Lock

import cv2

from wsisr.cluster.job_spec import (
    ComputedTile,
    JobSpec,
    ModelDescription,
    ModelRequest,
    TaskFailure,
    TaskResult,
    UnfitWorkerError,
    WorkerRefusal,
)
from wsisr.errors import DeviceError, ModelError, SlideError, WsisrError, describe_error
from wsisr.imaging.tiling import Tile
from wsisr.models import loading
from wsisr.models.upscaler import Unchanged, Upscaler
from wsisr.parallel.cpu import count_usable_cores, limit_cores
from wsisr.parallel.machine import describe_cpu
from wsisr.parallel.timing import StageTimes
from wsisr.slides import open_slide
from wsisr.slides.files import fingerprint_files, list_slide_files
from wsisr.tissue import make_full_map
from wsisr.upscaling.background import BackgroundMask, BackgroundOptions
from wsisr.upscaling.batches import tile_batches
from wsisr.upscaling.engine import finish_blocks
from wsisr.upscaling.job import load_requested_upscaler, select_pixels
from wsisr.upscaling.memory import WorkUnit
from wsisr.upscaling.plan import UpscalePlan, find_cell_side
from wsisr.upscaling.quality import QualityMonitor
from wsisr.upscaling.target import ScalePlan
from wsisr.version import __version__
from wsisr.writing import PyramidSpec
from wsisr.writing.encoding.block import encode_block
from wsisr.writing.encoding.encoder import LocalEncoder
from wsisr.writing.encoding.grid import build_level_grids

MOST_OPEN_JOBS = 4
"""Slides that a worker keeps open."""

MOST_FINISHERS = 8
"""Blocks that are finished in parallel beside a GPU."""

PIXEL_PACKAGES = ("torch", "numpy", "opencv-python-headless", "pillow", "imagecodecs", "tifffile", "openslide-bin")
"""Packages whose versions decide about pixels or encoded bytes, where they are installed."""


@cache
def read_versions() -> dict[str, str]:
    """Return the versions of wsisr and of the packages that pixels depend on."""
    versions = {"wsisr": __version__}
    for package in PIXEL_PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def describe_processor(*, on_gpu: bool) -> str:
    """Return the CPU's instruction sets, of those that networks use, or the name of the first GPU."""
    if on_gpu:
        import torch  # noqa: PLC0415

        return str(torch.cuda.get_device_name(0))
    cap = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA"))
    instructions = describe_cpu()["instructions"]
    assert isinstance(instructions, list)
    return " ".join([*instructions, *([f"at most {cap}"] if cap else [])]) or "no vector instructions"


def describe_model(request: ModelRequest) -> ModelDescription | WorkerRefusal:
    """Load a network, and tell what decides about its pixels here."""
    if request.scale == 1:
        return ModelDescription(Unchanged().info, describe_processor(on_gpu=False), read_versions())
    try:
        with _model_lock:
            upscaler = loading.load_upscaler(**request._asdict())
    except (ModelError, DeviceError, ImportError) as error:
        return refuse_work(describe_error(error))
    return ModelDescription(upscaler.info, describe_processor(on_gpu=upscaler.info.on_gpu), read_versions())


def compute_tiles(packed: bytes, numbers: Sequence[int]) -> TaskResult | TaskFailure | WorkerRefusal:
    """Compute tiles of a packed `JobSpec`, given by their numbers, and return them encoded.

    A refusal says that this worker cannot do it, a failure that none could.
    """
    began = time.monotonic()
    try:
        with _borrow_job(packed) as job:
            return job.compute(numbers, began)
    except (UnfitWorkerError, DeviceError) as error:
        return refuse_work(describe_error(error))
    except WsisrError as error:
        return TaskFailure(error, "")
    except Exception:  # noqa: BLE001 - a bug, whose traceback is shown where the run was started
        return TaskFailure(None, traceback.format_exc(limit=-20))


def close_jobs(run: str) -> None:
    """Close what is open of the jobs of a run."""
    with _lock:
        for name in [name for name in _jobs if name.startswith(run)]:
            _jobs.pop(name).retire()


def refuse_work(reason: str) -> WorkerRefusal:
    """Return the refusal of the worker in which this runs."""
    from distributed import get_worker  # noqa: PLC0415

    return WorkerRefusal(get_worker().address, f"{socket.gethostname()}: {reason}")


class _WorkerJob:
    """An open slide with its plan. It is closed once nobody uses it after `retire`."""

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec
        request = spec.request
        try:
            self._slide = open_slide(request.slide_path, request.mpp, estimate=True, series=request.series)
        except SlideError as error:
            raise UnfitWorkerError(f"{error} (does this machine see the slide's folder?)") from error
        try:
            self._plan, self._arithmetic = self._make_plan()
            self._batches = _TileBatches(self._plan)
        except BaseException:
            self._slide.close()
            raise
        self._users, self._is_retired, self._lock = 0, False, Lock()

    @contextmanager
    def use(self) -> Iterator[None]:
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                self._close_if_unused()

    def retire(self) -> None:
        with self._lock:
            self._is_retired = True
            self._close_if_unused()

    def compute(self, numbers: Sequence[int], began: float) -> TaskResult:
        # Warnings are told of each task anew, so that the client knows at which tile each came first.
        plan = replace(self._plan, upscaler=self._load_upscaler(self._scale_plan), times=StageTimes())
        tiles = tuple(self._encode_blocks(plan, self._batches.select(numbers), set(numbers)))
        return TaskResult(tiles, time.monotonic() - began, plan.times.seconds, self._arithmetic)

    def _encode_blocks(
        self, plan: UpscalePlan, batches: Iterable[list[Tile]], numbers: set[int]
    ) -> Iterator[ComputedTile]:
        grids = build_level_grids(self._spec.output_size, self._spec.stored_tile_px)
        told = 0
        with closing(finish_blocks(plan, batches)) as blocks:
            for block in blocks:
                number = plan.grid.number_of(block.tile)
                if number not in numbers:
                    continue
                with plan.times.measure("encode"):
                    encoder = LocalEncoder(self._spec.codec, self._spec.stored_tile_px)
                    encoded = encode_block(encoder, grids, block.box, block.pixels)
                warnings = tuple(plan.upscaler.warnings[told:])
                told += len(warnings)
                yield ComputedTile(
                    number,
                    encoded,
                    block.quality.to_bytes() if block.quality else None,
                    warnings,
                    tuple(place.numbers for place in plan.region.slide.unreadable_regions),
                )

    def _make_plan(self) -> tuple[UpscalePlan, str | None]:
        """Return the plan of the run that the user started, and how this worker computes if it differs from it."""
        spec, request = self._spec, self._spec.request
        if fingerprint_files(list_slide_files(self._slide.info)) != spec.fingerprint:
            raise UnfitWorkerError(f"{request.slide_path}: is another file here, by its size or date")
        self._scale_plan = select_pixels(request, self._slide)
        try:
            upscaler = self._load_upscaler(self._scale_plan)
        except (ModelError, ImportError) as error:
            raise UnfitWorkerError(describe_error(error)) from error
        info = upscaler.info
        here = ModelDescription(info, describe_processor(on_gpu=info.on_gpu), read_versions())
        difference = spec.model.describe_difference(here)
        if difference and not (spec.allow_mixed and spec.model.is_usable_with(here)):
            raise UnfitWorkerError(f"{difference}: it would give other pixels")
        limit_to_share(on_gpu=info.on_gpu)
        region, scale = self._scale_plan.region, self._scale_plan.scale
        finishers = min(MOST_FINISHERS, count_usable_cores())
        plan = UpscalePlan(
            region=region,
            upscaler=upscaler,
            work_unit=WorkUnit(spec.grid, scale, spec.batch, queue_depth=1, parallel_finishers=finishers),
            background=BackgroundMask(
                spec.unpack_tissue(),
                find_cell_side(scale),
                region.size,
                info.receptive_field,
                BackgroundOptions(make_full_map(), spec.white_background),
            ),
            output=PyramidSpec(spec.output_size, None, tile_px=spec.stored_tile_px, codec=spec.codec),
            quality=QualityMonitor(scale) if spec.measures_quality else None,
            verify=False,
            warning=None,
        )
        return plan, here.arithmetic if difference else None

    def _load_upscaler(self, scale_plan: ScalePlan) -> Upscaler:
        with _model_lock:
            return load_requested_upscaler(self._spec.request, scale_plan, loading)

    def _close_if_unused(self) -> None:
        if self._is_retired and not self._users:
            self._slide.close()


class _TileBatches:
    """The batches of a plan, found by the numbers of their tiles."""

    def __init__(self, plan: UpscalePlan) -> None:
        self._grid = plan.grid
        self._batches = list(tile_batches(plan))
        number_of = plan.grid.number_of
        self._batch_of = {number_of(tile): index for index, batch in enumerate(self._batches) for tile in batch}

    def select(self, numbers: Iterable[int]) -> list[list[Tile]]:
        """Return the batches, in their order, of tiles and of all that fade into these."""
        needed = set(numbers)
        if self._grid.tiling.feather_px:
            columns = self._grid.columns
            positions = {divmod(number, columns) for number in needed}
            before = {(row - up, column - left) for row, column in positions for up in (0, 1) for left in (0, 1)}
            needed = {row * columns + column for row, column in before if row >= 0 and column >= 0}
        return [self._batches[index] for index in sorted({self._batch_of[number] for number in needed})]


_jobs: OrderedDict[str, _WorkerJob] = OrderedDict()
"""Open jobs by name, that used last at the end."""

_lock, _model_lock = Lock(), Lock()


@contextmanager
def _borrow_job(packed: bytes) -> Iterator[_WorkerJob]:
    """Context: the open job of a specification, which is opened by the first task of it."""
    spec = JobSpec.unpack(packed)
    with _lock:
        job = _jobs.get(spec.job)
        if job is None:
            job = _jobs[spec.job] = _WorkerJob(spec)
        _jobs.move_to_end(spec.job)
        while len(_jobs) > MOST_OPEN_JOBS:
            _jobs.popitem(last=False)[1].retire()
        usage = job.use()
        usage.__enter__()
    try:
        yield job
    finally:
        usage.__exit__(None, None, None)


def limit_to_share(*, on_gpu: bool) -> None:
    """Give each thread of this worker one core; on a GPU they divide the cores."""
    from distributed import get_worker  # noqa: PLC0415

    threads = max(1, get_worker().state.nthreads)
    limit_cores(count_usable_cores() // threads if on_gpu else 1)
    cv2.setNumThreads(1)
