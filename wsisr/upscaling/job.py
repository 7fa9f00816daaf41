"""The main job: one slide, as requested, to one pyramid. It yields events; whoever runs it draws them, logs or stops.

Nothing is printed here, and no signal is caught, so the same job runs in a terminal, a notebook, a thread or a worker.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from PIL import Image

from wsisr.errors import OutputError
from wsisr.files import count_file_bytes, refuse_source
from wsisr.imaging.geometry import Size
from wsisr.models.corrections import add_corrections
from wsisr.models.magnification import MagnificationClassifier
from wsisr.models.upscaler import Unchanged, Upscaler
from wsisr.progress import Progress
from wsisr.slides import FaultTolerantSlide, Slide, SrgbSlide, open_slide
from wsisr.slides.region import SlideRegion
from wsisr.slides.wrappers.fault_tolerant import BLACK
from wsisr.tissue import find_tissue, make_full_map
from wsisr.upscaling.background import BackgroundOptions, describe_missing_tissue
from wsisr.upscaling.engine import LevelWriter, run_plan
from wsisr.upscaling.estimate import RunEstimate, estimate_run
from wsisr.upscaling.finished import (
    check_output_names,
    check_url_output_place,
    find_finished_metadata,
    is_written_by_wsisr,
    refuse_foreign_slide,
)
from wsisr.upscaling.magnification_check import LEAST_PLANNED_PX, check_magnification
from wsisr.upscaling.plan import UpscaleOptions, UpscalePlan, plan_upscaling
from wsisr.upscaling.preview import save_png
from wsisr.upscaling.provenance import DERIVED_WARNING, read_derived_metadata, refuse_derived
from wsisr.upscaling.quality import QualityMonitor
from wsisr.upscaling.report import QualityFigures, UpscaleReport
from wsisr.upscaling.request import AnyPath, UpscaleRequest
from wsisr.upscaling.target import ScalePlan
from wsisr.upscaling.trust.belonging import is_layer_of, refuse_other_layer
from wsisr.upscaling.trust.summary import TrustFiles, TrustSaved, TrustSummary
from wsisr.writing import WorkFolder, read_metadata
from wsisr.writing.workdir.folder import has_work_folder

if TYPE_CHECKING:
    from wsisr.upscaling.trust.predictor import TrustPredictor


class ModelLoader(Protocol):
    """What loads networks; `wsisr.models.loading` is one. The job itself imports none, so that it needs no torch."""

    def load_upscaler(
        self,
        model: AnyPath | None = None,
        *,
        scale: int,
        device: str = "auto",
        precision: str = "auto",
        mpp: float | None = None,
        perception: float = 0.0,
    ) -> Upscaler: ...

    def load_magnification_classifier(
        self, model: AnyPath | None = None, *, scale: int, device: str = "auto", mpp: float | None = None
    ) -> MagnificationClassifier | None: ...


@dataclass(frozen=True, slots=True)
class Warned:
    """Something about the slide or the result that its reader must know."""

    text: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Something worth a line that is no danger."""

    text: str


@dataclass(frozen=True, slots=True)
class Started:
    """The first tile is about to be read. From here on, stopping keeps what is finished."""

    plan: UpscalePlan


@dataclass(frozen=True, slots=True)
class Advanced:
    """A step is done: `upscale` in output pixels, then `pyramid` and `assemble` in stored tiles."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class MaskSaved:
    """The tissue of the whole slide is written as a PNG."""

    path: Path
    size: Size


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event."""

    plan: UpscalePlan
    report: UpscaleReport


JobEvent: TypeAlias = Warned | Noted | Started | Advanced | MaskSaved | TrustSaved | Finished


def run_job(
    request: UpscaleRequest, models: ModelLoader, write_level_0: LevelWriter | None = None
) -> Generator[JobEvent, None, None]:
    """Enlarge a slide; nothing happens until the events are consumed, and the last one is `Finished`.

    Closing the iterator early stops after the tiles in hand and keeps what is finished: the same request resumes from
    there. `write_level_0` has the tiles computed elsewhere, by default this process does it. Raises `WsisrError`, with
    what is wrong in one line.
    """
    warnings: list[str] = []
    trust: TrustSummary | None = None
    with closing(_yield_events(request, models, write_level_0)) as events:
        for event in events:
            if isinstance(event, Warned):
                warnings.append(event.text)
            if isinstance(event, TrustSaved):
                trust = event.summary
            if isinstance(event, Finished):
                yield replace(event, report=replace(event.report, warnings=tuple(warnings), trust=trust))
            else:
                yield event


def _yield_events(
    request: UpscaleRequest, models: ModelLoader, write_level_0: LevelWriter | None
) -> Generator[JobEvent, None, None]:
    output, replaceable, began = request.output_path, request.overwrite or request.dry_run, time.process_time()
    with open_slide(request.slide_path, request.mpp, estimate=True, series=request.series) as slide:
        if not request.allow_derived:
            refuse_derived(request.slide_path)
        refuse_source(output, request.slide_path)
        check_url_output_place(request)
        refuse_foreign_slide(output)
        # A file that wsisr wrote may be just what is requested, which only a plan can tell.
        check_output_names(request, overwrite=replaceable or is_written_by_wsisr(output))
        plan = plan_request(request, slide, models)
        requested, info = plan.output.metadata, plan.region.slide.info
        names_hardware = (request.device, request.precision) != ("auto", "auto")
        finished: Mapping[str, str] = {}
        if not request.overwrite:
            finished = find_finished_metadata(output, requested, info, compares_hardware=names_hardware)
        if finished:
            report = UpscaleReport.from_plan(request, plan, "finished before", metadata=finished)
            yield from _keep_finished(request, plan, report)
            return
        check_output_names(request, overwrite=replaceable)
        yield from describe_plan(request, plan)
        if request.dry_run:
            has_work = not request.overwrite and has_work_folder(output, request.work_path)
            if has_work and _work_folder(request, plan).can_resume(output):
                yield Noted(f"{output}: a stopped run left finished tiles, from which the run will go on")
            estimate = estimate_run(plan, time.process_time() - began)
            if request.trust_files:
                estimate = yield from _estimate_trust(request, plan, estimate)
            yield Finished(plan, UpscaleReport.from_plan(request, plan, "planned", estimate=estimate))
        else:
            yield from _run_engine(request, plan, write_level_0)


def plan_request(request: UpscaleRequest, slide: Slide, models: ModelLoader) -> UpscalePlan:
    """Choose the pixels, load the model, look for tissue, check the magnification and plan the output."""
    scale_plan = select_pixels(request, slide)
    upscaler = load_requested_upscaler(request, scale_plan, models)
    background = _find_background(request, slide, needs_network=upscaler.info.weights is not None)
    region = _check_region(request, scale_plan, background, models)
    return plan_upscaling(region, upscaler, _engine_options(request, background, upscaler))


def select_pixels(request: UpscaleRequest, slide: Slide) -> ScalePlan:
    """Choose what of an open slide is read, in what colours, and the scale."""
    readable = FaultTolerantSlide(slide) if request.on_error == "white" else slide
    return request.selection.plan_scale(SrgbSlide(readable) if request.icc == "srgb" else readable)


def _check_region(
    request: UpscaleRequest, scale_plan: ScalePlan, background: BackgroundOptions, models: ModelLoader
) -> SlideRegion:
    """Return the region, with a warning if its tissue looks like another magnification than its pixel size says."""
    region, scale = scale_plan.region, scale_plan.scale
    if request.allow_derived and read_derived_metadata(request.slide_path):
        region = replace(region, selection_warnings=(*region.selection_warnings, DERIVED_WARNING))
    is_quick_plan = request.dry_run and region.size.pixel_count < LEAST_PLANNED_PX and not request.output_path.exists()
    if scale == 1 or is_quick_plan:
        return region
    classifier = models.load_magnification_classifier(request.model, scale=scale, device=request.device, mpp=region.mpp)
    warning = check_magnification(region, background.tissue, classifier) if classifier else None
    return replace(region, selection_warnings=(*region.selection_warnings, warning)) if warning else region


def load_requested_upscaler(request: UpscaleRequest, scale_plan: ScalePlan, models: ModelLoader) -> Upscaler:
    """Load what enlarges the pixels, with its corrections; what does not enlarge them where the scale is 1."""
    if scale_plan.scale == 1:
        return Unchanged()
    upscaler = models.load_upscaler(
        request.model,
        scale=scale_plan.scale,
        device=request.device,
        precision=request.precision,
        mpp=scale_plan.region.mpp,
        perception=request.perception,
    )
    return add_corrections(upscaler, guard=request.guard, consistency=request.consistency)


def _find_background(request: UpscaleRequest, slide: Slide, *, needs_network: bool) -> BackgroundOptions:
    """Look for tissue only where something depends on it: a filter enlarges all of a slide alike."""
    white = request.background == "white"
    if request.tissue == "auto" and not (needs_network or white or request.save_mask):
        return BackgroundOptions(make_full_map())
    # Undecodable parts are black here, so that they count as tissue, not as glass.
    readable = FaultTolerantSlide(slide, BLACK) if request.on_error == "white" else slide
    return BackgroundOptions(find_tissue(readable, request.tissue, request.tissue_origin), white)


def _engine_options(request: UpscaleRequest, background: BackgroundOptions, upscaler: Upscaler) -> UpscaleOptions:
    return UpscaleOptions(
        tile_px=request.tile_px,
        overlap_px=request.overlap_px,
        batch=request.batch,
        codec=request.output_codec,
        layout=request.layout_name,
        background=background,
        quality=QualityMonitor(upscaler.info.scale),
        deidentify=request.deidentify,
        keep_images=request.kept_images,
        verify=request.verify,
        memory_gb=request.memory,
    )


def _keep_finished(request: UpscaleRequest, plan: UpscalePlan, report: UpscaleReport) -> Iterator[JobEvent]:
    """Leave a finished output alone, and add only the mask if it is missing.

    Raises `OutputError` if places of the slide are white there and the request does not allow that.
    """
    if report.unreadable and request.on_error != "white":
        raise OutputError(
            f"{report.output}: exists already, but the slide could not all be decoded ({report.unreadable}); take that "
            "with --on-error white, or replace it with --overwrite"
        )
    yield Noted(f"{report.output}: is finished already, of the same source and parameters; --overwrite makes it anew")
    if report.unreadable:
        yield Warned(f"{request.slide_path}: parts could not be decoded and are {report.unreadable}")
    yield from _warn_of_missing_tissue(request, plan)
    if not request.dry_run:
        _work_folder(request, plan).remove_leftovers(report.output)
        mask = request.mask_path
        if mask and not mask.exists():
            yield _save_mask(request, mask, plan)
        trust = request.trust_files
        if trust:
            refuse_other_layer(trust.layer, report.output)
            if not trust.are_written:
                yield from _add_trust(request, plan, trust)
    yield Finished(plan, report)


def describe_plan(request: UpscaleRequest, plan: UpscalePlan) -> Iterator[JobEvent]:
    """Yield what the reader of the result must know before the run."""
    for name in plan.output.associated_images:
        yield Warned(f"the slide's {name} image is copied; look whether it shows names, numbers or barcodes")
    # At scale 1 no network runs, which is worth a note, not a warning.
    notes = plan.region.selection_warnings if plan.scale == 1 else ()
    for text in (*plan.region.warnings, *filter(None, [plan.warning])):
        yield Noted(text) if text in notes else Warned(text)
    yield from _warn_of_missing_tissue(request, plan)


def _warn_of_missing_tissue(request: UpscaleRequest, plan: UpscalePlan) -> Iterator[JobEvent]:
    if not plan.background.tissue.any():
        yield Warned(describe_missing_tissue(request.tissue, request.background))


def _run_engine(request: UpscaleRequest, plan: UpscalePlan, write_level_0: LevelWriter | None) -> Iterator[JobEvent]:
    output, upscaler, folder = request.output_path, plan.upscaler, _work_folder(request, plan)
    yield Started(plan)
    began, finished_before, warned = time.monotonic(), 0.0, 0
    steps = run_plan(plan, output, overwrite=request.overwrite, folder=folder, write_level_0=write_level_0)
    with closing(steps):
        for progress in steps:
            for text in upscaler.warnings[warned:]:
                warned += 1
                yield Warned(text)
            finished_before = max(finished_before, progress.done_before / progress.total)
            yield Advanced(progress)
    for text in upscaler.warnings[warned:]:
        yield Warned(text)
    if request.mask_path:
        yield _save_mask(request, request.mask_path, plan)
    if request.trust_files:
        yield from _add_trust(request, plan, request.trust_files)
    else:
        yield from _warn_of_other_layer(request)
    quality = QualityFigures.from_monitor(plan.quality, len(plan.grid)) if plan.quality else None
    report = UpscaleReport.from_plan(
        request,
        plan,
        "done",
        seconds=time.monotonic() - began,
        finished_before=finished_before,
        stage_seconds=dict(plan.times.seconds),
        output_bytes=count_file_bytes(output),
        quality=quality,
        metadata=read_metadata(output),
    )
    if report.unreadable:
        yield Warned(f"{request.slide_path}: parts could not be decoded and are {report.unreadable}")
    yield Finished(plan, report)


def _warn_of_other_layer(request: UpscaleRequest) -> Iterator[JobEvent]:
    """Warn of a trust layer that lies beside a result without being its own."""
    files = replace(request, trust=True).trust_files
    if files and files.layer.exists() and not is_layer_of(files.layer, request.output_path):
        yield Warned(f"{files.layer}: is of another result, not of {request.output_path}; remove it")


def _add_trust(request: UpscaleRequest, plan: UpscalePlan, files: TrustFiles) -> Iterator[JobEvent]:
    """Write the trust layer of the finished result, or say why no bound of its errors is known."""
    from wsisr.upscaling.trust.run import make_trust_layer  # noqa: PLC0415 - only some runs need it

    predictor = yield from _choose_predictor(request, plan)
    if predictor is None:
        return
    replaceable = request.overwrite or not files.are_written  # one of the two may be there of a run that was killed
    for step in make_trust_layer(plan, request.output_path, files, predictor, overwrite=replaceable):
        yield Advanced(step) if isinstance(step, Progress) else step


def _estimate_trust(
    request: UpscaleRequest, plan: UpscalePlan, estimate: RunEstimate
) -> Generator[JobEvent, None, RunEstimate]:
    """Yield what a trust layer would warn of, and return the estimate with what the layer takes."""
    from wsisr.upscaling.trust.estimate import estimate_trust  # noqa: PLC0415 - only some runs need it

    predictor = yield from _choose_predictor(request, plan)
    return estimate.add_trust(estimate_trust(plan, predictor)) if predictor else estimate


def _choose_predictor(request: UpscaleRequest, plan: UpscalePlan) -> Generator[JobEvent, None, TrustPredictor | None]:
    """Return what bounds the errors of the result; None, and a warning, where nothing does."""
    from wsisr.upscaling.trust.run import find_predictor, find_scanner_doubt  # noqa: PLC0415 - only some runs need it

    predictor = find_predictor(plan.upscaler.info, plan.region.mpp)
    if read_derived_metadata(request.slide_path):
        predictor = "the slide was itself written by wsisr"
    if isinstance(predictor, str):
        yield Warned(f"trust: not calibrated, no layer is written: {predictor}")
        return None
    doubt = find_scanner_doubt(predictor, plan.region.slide.info)
    if doubt:
        yield Warned(doubt)
    return predictor


def _work_folder(request: UpscaleRequest, plan: UpscalePlan) -> WorkFolder:
    return plan.work_folder(request.work_path, keep=request.keep_work)


def _save_mask(request: UpscaleRequest, path: Path, plan: UpscalePlan) -> MaskSaved:
    """Write the tissue of the whole slide, whatever part was enlarged: `tissue` takes it again, for any other part."""
    picture = Image.fromarray(plan.background.options.tissue.mask.astype("uint8") * 255)
    save_png(picture, path, overwrite=request.overwrite)
    return MaskSaved(path, Size(picture.width, picture.height))
