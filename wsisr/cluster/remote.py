"""Remote run: networks and level 0 of a slide whose tiles a cluster computes, in the place of the main job's own."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from wsisr.cluster import worker
from wsisr.cluster.job import ClusterJob, RemoteWork, open_job
from wsisr.cluster.job_spec import ComputedTile, JobSpec, ModelDescription, ModelRequest, TaskResult
from wsisr.cluster.session import ClusterSession
from wsisr.cluster.task_sizes import BatchQueue, TaskSizes
from wsisr.imaging.pixels import RgbBatch
from wsisr.imaging.tiling import Tile
from wsisr.models import loading
from wsisr.models.magnification import MagnificationClassifier
from wsisr.models.upscaler import Upscaler, UpscalerInfo
from wsisr.progress import Progress
from wsisr.slides.unreadable import UnreadableRegion
from wsisr.upscaling.batches import missing_batches
from wsisr.upscaling.engine import begin_quality, count_finished_pixels
from wsisr.upscaling.job import JobEvent, run_job
from wsisr.upscaling.plan import UpscalePlan
from wsisr.upscaling.provenance import WORKERS_KEY, findings_metadata
from wsisr.upscaling.request import AnyPath, UpscaleRequest
from wsisr.writing import MessageLog, PyramidWriter

MIXED_WORKERS = "computed in several ways, allowed by --allow-mixed-workers"
"""What a result records of workers that give other pixels; files hold it."""


def run_cluster_job(request: UpscaleRequest, session: ClusterSession) -> Generator[JobEvent, None, None]:
    """Enlarge a slide as `run_job` does, with tiles that the workers of a session compute.

    Raises `WsisrError`, with what is wrong in one line: a `ClusterError` where it is the cluster.
    """
    remote = RemoteRun(session, request)
    return run_job(request, remote.models, remote.write_level_0)


class RemoteUpscaler:
    """The facts of a network that workers run, and what they warned of. It computes nothing here."""

    def __init__(self, info: UpscalerInfo) -> None:
        self.info = info
        self.warnings: list[str] = []

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        raise NotImplementedError("tiles are computed on the cluster")


class RemoteModels:
    """A `ModelLoader` whose networks are those of the workers."""

    def __init__(self, session: ClusterSession) -> None:
        self._session = session
        self.description: ModelDescription | None = None

    def load_upscaler(
        self,
        model: AnyPath | None = None,
        *,
        scale: int,
        device: str = "auto",
        precision: str = "auto",
        mpp: float | None = None,
        perception: float = 0.0,
    ) -> Upscaler:
        """Ask the workers for a network. Raises `ClusterError` if none has it."""
        request = ModelRequest(locate_model(model), scale, device, precision, mpp, perception)
        self.description = self._session.describe_model(request)
        return RemoteUpscaler(self.description.info)

    def load_magnification_classifier(
        self, model: AnyPath | None = None, *, scale: int, device: str = "auto", mpp: float | None = None
    ) -> MagnificationClassifier | None:
        """Load the classifier here, on whatever device there is: it looks at a few places only."""
        local = device if device == "cpu" else "auto"
        return loading.load_magnification_classifier(model, scale=scale, device=local, mpp=mpp)


class RemoteRun:
    """One slide's job on a cluster: the networks and the level writer that `run_job` takes."""

    def __init__(self, session: ClusterSession, request: UpscaleRequest) -> None:
        self.request = make_paths_absolute(request)
        self.models = RemoteModels(session)
        self._session = session

    def write_level_0(self, plan: UpscalePlan, writer: PyramidWriter) -> Iterator[Progress]:
        """Have the tiles computed that no earlier run finished, and store them as they come.

        Yields `upscale` in output pixels, at least every half second. Raises `WsisrError`.
        """
        begin_quality(plan, writer.run_log)
        description = self.models.description or self._session.describe_model(self._describe_request(plan))
        model = replace(description, info=plan.upscaler.info)
        name, order = self._session.name_job()
        spec = JobSpec.from_plan(name, self.request, plan, model, allow_mixed=self._session.allow_mixed)
        store = _ResultStore(plan, writer)
        waves = _Waves(plan, writer, self._session)
        total = plan.output.size.pixel_count
        done = before = count_finished_pixels(plan, writer)
        if before:
            yield Progress("upscale", done, total, before)
        with open_job(self._session, _describe_work(spec), order) as job:
            while waves.submit(job):
                result = job.wait()
                if result is not None:
                    waves.learn(result)
                    done += store.store(result)
                yield Progress("upscale", done, total, before)
        store.finish()

    def _describe_request(self, plan: UpscalePlan) -> ModelRequest:
        """Return the network of a plan for which none was loaded."""
        request = self.request
        return ModelRequest(
            locate_model(request.model),
            plan.scale,
            request.device,
            request.precision,
            plan.region.mpp,
            request.perception,
        )


def make_paths_absolute(request: UpscaleRequest) -> UpscaleRequest:
    """Return a request whose paths mean the same in another folder: workers run elsewhere."""
    return replace(
        request,
        slide=request.slide_path.absolute(),
        output=request.output_path.absolute(),
        model=locate_model(request.model),
    )


def locate_model(model: AnyPath | None) -> str | None:
    """Return a model's name, or the absolute path of its file."""
    if model is None:
        return None
    return str(Path(model).absolute()) if Path(model).exists() else str(model)


def _describe_work(spec: JobSpec) -> RemoteWork[TaskResult]:
    def describe_tile(number: int) -> str:
        row, column = divmod(number, spec.grid.columns)
        core = spec.grid.tile_at(column, row).core
        return (
            f"{spec.request.slide_path}: several workers died at the tile of {core.size} px at {core.left}, {core.top} "
            "of the input"
        )

    return RemoteWork(spec.job, spec.pack(), worker.compute_tiles, describe_tile)


class _Submitted(NamedTuple):
    has_tissue: bool
    batches: int


class _Waves:
    """Cuts what is missing into tasks, and submits as many as the workers have room for."""

    def __init__(self, plan: UpscalePlan, writer: PyramidWriter, session: ClusterSession) -> None:
        self._plan, self._session = plan, session
        self._sizes = session.task_sizes.setdefault((plan.upscaler.info.name, plan.grid.tiling), TaskSizes())
        self._submitted: dict[int, _Submitted] = {}

        def select_missing(batch: list[Tile]) -> list[Tile]:
            return [tile for tile in batch if not writer.has_tiles(tile.core * plan.scale)]

        missing = ((batch, select_missing(batch)) for batch in missing_batches(plan, writer.has_tiles))
        has_tissue = plan.background.tissue_in
        self._queue = BatchQueue(
            (bool(has_tissue(batch[0].blend_box).any()), tiles) for batch, tiles in missing if tiles
        )

    def submit(self, job: ClusterJob[TaskResult]) -> bool:
        """Submit tasks while there is room; return whether any task is left."""
        while self._queue and self._session.has_room:
            has_tissue, batches = self._queue.take(self._sizes, self._session.count_threads())
            numbers = [self._plan.grid.number_of(tile) for batch in batches for tile in batch]
            self._submitted[numbers[0]] = _Submitted(has_tissue, len(batches))
            job.submit(numbers, self._sizes.expect_bytes(has_tissue, len(batches)))
        return bool(self._queue) or not job.is_idle

    def learn(self, result: TaskResult) -> None:
        """Take what a task took as a measure for the next."""
        submitted = self._submitted.pop(result.tiles[0].number, None)
        if submitted:
            self._sizes.add(*submitted, result.seconds, result.nbytes)


class _ResultStore:
    """Stores results in the work folder: what was found out about a tile is logged before it counts as done."""

    def __init__(self, plan: UpscalePlan, writer: PyramidWriter) -> None:
        self._plan, self._writer = plan, writer
        log = writer.run_log
        self._warnings, self._unreadable = MessageLog(log, "remark"), MessageLog(log, "hole")
        self._arithmetic = MessageLog(log, "workers")
        self._warnings.collect(plan.upscaler.warnings)

    def store(self, result: TaskResult) -> int:
        """Store a task's tiles; return how many output pixels they are."""
        for stage, seconds in result.stage_seconds.items():
            self._plan.times.add(stage, seconds)
        if result.arithmetic:
            self._arithmetic.collect([result.arithmetic])
        return sum(self._store_tile(tile) for tile in result.tiles)

    def finish(self) -> None:
        """Add what was found out to the file's metadata, once all tiles are stored."""
        if self._plan.quality:
            self._plan.quality.end()
        places = [UnreadableRegion.parse(text) for text in self._unreadable.messages]
        self._writer.add_metadata(findings_metadata(self._warnings.messages, places))
        if self._arithmetic.messages:
            ways = "; ".join([self._plan.upscaler.info.hardware, *sorted(self._arithmetic.messages)])
            self._writer.add_metadata({WORKERS_KEY: f"{MIXED_WORKERS}: {ways}"})

    def _store_tile(self, computed: ComputedTile) -> int:
        row, column = divmod(computed.number, self._plan.grid.columns)
        tile = self._plan.grid.tile_at(column, row)
        shown = self._plan.upscaler.warnings
        if isinstance(shown, list):  # that of a network; what enlarges without one warns of nothing
            shown += [text for text in computed.warnings if text not in shown]
        self._warnings.collect(computed.warnings, computed.number)
        self._unreadable.collect(computed.unreadable)
        if self._plan.quality and computed.quality:
            self._plan.quality.add_out_of_order(tile, computed.quality)
        with self._plan.times.measure("store"):
            self._writer.write_block(computed.block)
        return (tile.core * self._plan.scale).size.pixel_count
