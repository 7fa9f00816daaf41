"""`wsisr upscale`: the main job."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsisr.cli.frontend import INTERRUPTED_MESSAGE, STOPPED_MESSAGE, Frontend, TerminalFrontend
from wsisr.cli.options import (
    BATCH_AND_MACHINES,
    BOX,
    INPUT,
    MODEL,
    OUTPUT,
    REGION_AND_SCALE,
    RUN,
    TISSUE,
    UM_PER_PX,
    ConsistencyOption,
    DeviceOption,
    LevelOption,
    MppOption,
    PerceptionOption,
    SeriesOption,
    SourceMppOption,
    flag,
    slide_argument,
)
from wsisr.cli.output_paths import create_output_folder, default_output_path, is_output_folder, output_path_for
from wsisr.cli.resources import ParallelResources, check_jobs_option
from wsisr.cli.selection import PixelSelection, check_choice, check_device_option, report_as_usage_error
from wsisr.progress import format_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wsisr.cli.batch import BatchItem, ReportRow
    from wsisr.cli.summary import RunTiming
    from wsisr.models.magnification import MagnificationClassifier
    from wsisr.models.upscaler import Upscaler
    from wsisr.parallel.processes import WorkerSlot
    from wsisr.slides.region import SlideRegion
    from wsisr.upscaling.background import BackgroundOptions
    from wsisr.upscaling.plan import UpscaleOptions, UpscalePlan
    from wsisr.upscaling.target import ScalePlan
    from wsisr.writing import WorkFolder


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of every slide of a run."""

    choice: PixelSelection
    load: Callable[..., Upscaler]
    """`load_upscaler` with model, device, precision and perception as asked."""
    look: Callable[..., MagnificationClassifier | None]
    """`load_sight` with model and device as asked."""
    consistency: bool
    """Correct what a network or filter gives, so that it averages back to its input."""
    options: UpscaleOptions
    mpp: float | None
    """Of level 0 in um/px, where it was given."""
    series: int | None
    """Of the images of a file, where it was given."""
    icc: str
    again: bool
    on_error: str
    """`stop`, or `white` for what of a slide cannot be decoded."""
    overwrite: bool
    work_dir: Path | None
    keep_work: bool
    dry_run: bool
    quiet: bool
    tissue: str
    """`auto`, `none`, or a file that marks it."""
    background: str
    save_mask: Path | None


def upscale_command(
    slides: Annotated[list[Path], slide_argument("Slides: files or folders.", metavar="SLIDE")],
    scale: Annotated[int | None, typer.Option(metavar="2|4", help="Enlarge 2 or 4 times along each axis.")] = None,
    target_mpp: Annotated[
        float | None, typer.Option(metavar=UM_PER_PX, help="Or give the output this pixel size.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PATH", help="Output, or folder for several slides."),
    ] = None,
    region: Annotated[str | None, typer.Option(metavar=BOX, help="Only this box, in px of level 0.")] = None,
    mpp: MppOption = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Model; by default the best that fits.")
    ] = None,
    device: DeviceOption = "auto",
    tissue: Annotated[str, typer.Option(metavar="auto|none|FILE", help="Use the network on tissue only.")] = "auto",
    overwrite: Annotated[bool, flag("--overwrite", "Replace an output that exists.")] = False,
    dry_run: Annotated[bool, flag("--dry-run", "Print the plan, and write nothing.")] = False,
    series: SeriesOption = None,
    icc: Annotated[
        str,
        typer.Option(
            metavar="keep|srgb",
            rich_help_panel=INPUT,
            help="Keep the slide's colours and embed its profile, or convert the colours to sRGB.",
        ),
    ] = "keep",
    on_error: Annotated[
        str,
        typer.Option(
            metavar="stop|white",
            rich_help_panel=INPUT,
            help="If part of a slide cannot be decoded, stop, or fill it with white and exit with code 3.",
        ),
    ] = "stop",
    allow_derived: Annotated[
        bool, flag("--allow-derived", "Accept a slide that wsisr wrote; without it, such a slide is refused.", INPUT)
    ] = False,
    level: LevelOption = None,
    source_mpp: SourceMppOption = None,
    region_mm: Annotated[
        str | None,
        typer.Option(
            metavar=BOX,
            rich_help_panel=REGION_AND_SCALE,
            help="Only this box, in millimetres. By default the scanned area.",
        ),
    ] = None,
    whole_canvas: Annotated[
        bool, flag("--whole-canvas", "Upscale all of level 0, not only the scanned area.", REGION_AND_SCALE)
    ] = False,
    precision: Annotated[
        str,
        typer.Option(
            metavar="auto|bf16|fp16|fp32",
            rich_help_panel=MODEL,
            help="Number format of the network. auto is bf16 where it is fast, else fp16 on a GPU and fp32 on a CPU.",
        ),
    ] = "auto",
    perception: PerceptionOption = 0.0,
    consistency: ConsistencyOption = False,
    tile_px: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="PX",
            rich_help_panel=MODEL,
            help="Input px per side that a tile completes. By default as many as fit into --memory.",
        ),
    ] = None,
    overlap_px: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="PX",
            rich_help_panel=MODEL,
            help="Input px by which tiles overlap. By default what the model needs to leave no seam.",
        ),
    ] = None,
    batch: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", rich_help_panel=MODEL, help="Number of tiles that go through the network together."
        ),
    ] = 1,
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=OUTPUT,
            help="ome-tiff (.tif), aperio (.svs) or ome-zarr (.zarr). By default that of the output's suffix, else "
            "ome-tiff.",
        ),
    ] = None,
    codec: Annotated[
        str | None,
        typer.Option(
            metavar="jpeg|deflate|lzw",
            rich_help_panel=OUTPUT,
            help="Compression of a TIFF; deflate and lzw are lossless. By default jpeg. OME-Zarr is always lossless "
            "zstd.",
        ),
    ] = None,
    quality: Annotated[
        int, typer.Option(min=1, max=100, metavar="Q", rich_help_panel=OUTPUT, help="JPEG quality of the output.")
    ] = 90,
    subsampling: Annotated[
        str,
        typer.Option(
            metavar="444|420",
            rich_help_panel=OUTPUT,
            help="JPEG colour resolution: one value for each pixel (444), or one for four (420).",
        ),
    ] = "444",
    deidentify: Annotated[
        bool, flag("--deidentify", "Leave out the day of the scan. By default it is copied.", OUTPUT)
    ] = False,
    keep_label: Annotated[
        bool, flag("--keep-label", "Copy the slide's label image, which may name a patient.", OUTPUT)
    ] = False,
    keep_macro: Annotated[
        bool, flag("--keep-macro", "Copy the slide's macro image, which may show the label.", OUTPUT)
    ] = False,
    accept_limited_viewers: Annotated[
        bool, flag("--accept-limited-viewers", "Allow files that some viewers cannot open or misread.", OUTPUT)
    ] = False,
    background: Annotated[
        str,
        typer.Option(
            metavar="keep|white",
            rich_help_panel=TISSUE,
            help="Outside tissue, enlarge what was scanned by bicubic, or write white.",
        ),
    ] = "keep",
    save_mask: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            rich_help_panel=TISSUE,
            help="Write the tissue of the whole slide, in white, as a picture that --tissue accepts.",
        ),
    ] = None,
    jobs: Annotated[
        str,
        typer.Option(
            metavar="auto|N",
            rich_help_panel=BATCH_AND_MACHINES,
            help="Slides at a time; they share the cores and --memory. auto is one for each GPU, or one on a CPU.",
        ),
    ] = "auto",
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            rich_help_panel=BATCH_AND_MACHINES,
            help="Process part I of N of the slides, so that N machines share them. By default all.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            rich_help_panel=BATCH_AND_MACHINES,
            help="Write what became of each slide as JSON, updated after each.",
        ),
    ] = None,
    memory: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="GB",
            rich_help_panel=BATCH_AND_MACHINES,
            help="Memory for everything but the network; tiles are made small enough to fit.",
        ),
    ] = 2.0,
    no_verify: Annotated[
        bool, flag("--no-verify", "Skip the check that reads the finished output before it gets its name.", RUN)
    ] = False,
    work_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel=RUN,
            help="Folder for the work folder of an unfinished output. By default the output's own folder.",
        ),
    ] = None,
    keep_work: Annotated[bool, flag("--keep-work", "Keep the work folder when the output is finished.", RUN)] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", metavar="", rich_help_panel=RUN, help="Print only warnings and errors."),
    ] = False,
) -> None:
    """Upscale slides into new pyramidal files."""
    choice = PixelSelection(scale, level, source_mpp, target_mpp, region, region_mm, whole_canvas)
    from wsisr.cli import batch as many
    from wsisr.models.loading import load_magnification_classifier, load_upscaler
    from wsisr.models.spec import PRECISIONS
    from wsisr.upscaling.plan import UpscaleOptions
    from wsisr.writing.encoding.codec import SUBSAMPLINGS
    from wsisr.writing.layouts.catalog import DEFAULT_LAYOUT, LAYOUTS, resolve_layout_name

    check_choice(icc, ("keep", "srgb"), "--icc")
    check_choice(background, ("keep", "white"), "--background")
    check_choice(on_error, ("stop", "white"), "--on-error")
    check_choice(precision, PRECISIONS, "--precision")
    check_device_option(device)
    check_choice(subsampling, SUBSAMPLINGS, "--subsampling")
    check_choice(layout, LAYOUTS, "--layout")
    check_jobs_option(jobs)
    slides = list(dict.fromkeys(slides))
    several = len(slides) > 1 or shard is not None or (output is not None and is_output_folder(output))
    if output is not None and not several:
        layout = resolve_layout_name(output, layout)
    layout = layout or DEFAULT_LAYOUT
    with report_as_usage_error("--codec"):
        coding = LAYOUTS[layout].select_codec(codec, quality, subsampling)
        coding.check_viewers(accept_limited=accept_limited_viewers)
    keep = tuple(name for name, wanted in (("label", keep_label), ("macro", keep_macro)) if wanted)
    if keep and deidentify:
        raise typer.BadParameter("--deidentify keeps neither label nor macro")
    if keep:
        LAYOUTS[layout].check_associated_images(accept_limited=accept_limited_viewers)
    if several and (save_mask or tissue not in ("auto", "none")):
        raise typer.BadParameter("a mask belongs to one slide; give slides with masks one by one")
    options = UpscaleOptions(tile_px, overlap_px, batch, coding, layout)
    request = Request(
        choice,
        partial(load_upscaler, model, device=device, precision=precision, perception=perception),
        partial(load_magnification_classifier, model, device=device),
        consistency,
        replace(options, deidentify=deidentify, verify=not no_verify, keep_images=keep, memory_gb=memory),
        mpp=mpp,
        series=series,
        icc=icc,
        again=allow_derived,
        on_error=on_error,
        overwrite=overwrite,
        work_dir=work_dir,
        keep_work=keep_work,
        dry_run=dry_run,
        quiet=quiet,
        tissue=tissue,
        background=background,
        save_mask=save_mask,
    )
    part = "" if series is None else f"series{series}."
    ending = part + choice.scale_label() + LAYOUTS[layout].default_suffix
    if several:
        work = [(slide, output_path_for(output, slide, ending)) for slide in slides]
        many.refuse_shared_outputs(work)
        many.check_report_path(report, [result for _, result in work])
        if output:
            create_output_folder(output)
        work = list(many.select_shard(work, shard))
        done = enlarge_all(request, work, ParallelResources.from_options(jobs, len(work), device, model), report)
        many.write_batch_report(report, done)
        many.finish_batch(done, quiet=quiet)
    else:
        target = output or default_output_path(slides[0], ending)
        many.check_report_path(report, [target, *filter(None, [save_mask])])
        many.exit_unless_complete(
            [many.run_single((slides[0], target), partial(enlarge, request, desk=TerminalFrontend()), report)]
        )


def enlarge_all(
    request: Request, jobs: list[BatchItem], shares: ParallelResources, report: Path | None
) -> list[ReportRow]:
    """Each slide, beside others where that is shared out; what is to be reported of them."""
    if shares.slides_at_once == 1:
        from wsisr.cli.batch import run_batch
        from wsisr.cli.shutdown import catch_stop_signals

        with catch_stop_signals(end_message=INTERRUPTED_MESSAGE) as stop:
            return run_batch(jobs, partial(enlarge, request, desk=TerminalFrontend(stop)), stop, report)
    from wsisr.cli.parallel_batch import run_parallel_batch as run_beside

    return run_beside(jobs, Sharing(request, shares), shares.slides_at_once, report)


@dataclass(frozen=True, slots=True)
class Sharing:
    """A request, as one of several workers sees to it."""

    request: Request
    shares: ParallelResources

    def __call__(self, slide: Path, output: Path, desk: Frontend, seat: WorkerSlot) -> ReportRow:
        request, device = self.request, self.shares.device_for(seat.number)
        memory_gb = request.options.memory_gb / self.shares.slides_per_device
        own = replace(
            request,
            load=partial(request.load, device=device),
            look=partial(request.look, device=device),
            options=replace(request.options, memory_gb=memory_gb),
        )
        return enlarge(own, slide, output, desk)


def enlarge(request: Request, slide: Path, output: Path, desk: Frontend) -> ReportRow:
    """One slide, as asked, and what is to be reported of it. Raises `WsisrError`."""
    from contextlib import closing

    from wsisr.cli.batch import find_finished_metadata, is_written_by_wsisr
    from wsisr.cli.console import print_message, relay_warnings, stdout_console
    from wsisr.cli.shutdown import stop_between_steps
    from wsisr.cli.summary import RunTiming, announce_resume, dry_run_panel, format_pace
    from wsisr.cli.tissue import background_of, save_tissue
    from wsisr.files import refuse_source
    from wsisr.slides import FaultTolerantSlide, SrgbSlide, open_slide
    from wsisr.upscaling.engine import run_plan
    from wsisr.upscaling.plan import plan_upscaling
    from wsisr.upscaling.provenance import refuse_derived
    from wsisr.upscaling.quality import QualityMonitor

    with open_slide(slide, request.mpp, estimate=True, series=request.series) as stored:
        if not request.again:
            refuse_derived(slide)
        readable = FaultTolerantSlide(stored) if request.on_error == "white" else stored
        opened = SrgbSlide(readable) if request.icc == "srgb" else readable
        refuse_source(output, slide)
        replaceable = request.overwrite or request.dry_run
        # What wsisr wrote may be just what is asked for, which only a plan can tell.
        check_names(request, output, overwrite=replaceable or is_written_by_wsisr(output))
        route = request.choice.plan_scale(opened)
        source = route.region
        upscaler = loaded(request, route)
        ground = background_of(request, stored, network=upscaler.info.weights is not None)
        source = looked_at(request, source, ground, upscaler.info.scale)
        options = replace(request.options, background=ground, quality=QualityMonitor(upscaler.info.scale))
        work = plan_upscaling(source, upscaler, options)
        folder = work.work_folder(request.work_dir, keep=request.keep_work)
        there = {} if request.overwrite else find_finished_metadata(output, work.output.metadata, opened.info)
        if there:
            return finished_before(request, output, there, folder, ground)
        check_names(request, output, overwrite=replaceable)
        for name in work.output.associated_images:
            print_message(
                f"warning: the slide's {name} image is copied; look whether it shows names, numbers or barcodes"
            )
        news = (
            source.selection_warnings if upscaler.info.scale == 1 else ()
        )  # a plain filter in the place of a network is no danger
        for said in (*source.warnings, *filter(None, [work.warning])):
            print_message(said if said in news else f"warning: {said}")
        if request.dry_run:
            stdout_console.print(dry_run_panel(work, upscaler, output, folder.parent or output.parent))
            return {"state": "planned"}
        began, before = time.monotonic(), 0.0
        making = run_plan(work, output, overwrite=request.overwrite, folder=folder)
        with desk.catch_stop_signals() as stop, closing(making) as steps:
            if not request.quiet:
                sizes = f"{source.size} px to {work.output.size} px"
                print_message(
                    f"{upscaler.info.name}, {upscaler.info.hardware}: {sizes} in {format_count(len(work.grid), 'tile')}"
                )
            heard = relay_warnings(stop_between_steps(steps, stop, STOPPED_MESSAGE), upscaler.warnings)
            for step in heard if request.quiet else desk.show_progress(announce_resume(heard, output), format_pace):
                before = max(before, step.done_before / step.total)
        save_tissue(request, ground)
        return told(request, work, upscaler, RunTiming(time.monotonic() - began, before), output)


def finished_before(
    request: Request, output: Path, note: Mapping[str, str], folder: WorkFolder, ground: BackgroundOptions
) -> ReportRow:
    """What is to be reported of a slide whose result is there already, with that note."""
    from wsisr.cli.console import print_message
    from wsisr.cli.tissue import save_tissue
    from wsisr.errors import OutputError
    from wsisr.upscaling.provenance import UNREADABLE_KEY

    holes = {name: text for name, text in note.items() if name == UNREADABLE_KEY}
    if holes and request.on_error != "white":
        raise OutputError(
            f"{output}: exists already, but the slide could not all be decoded ({holes[UNREADABLE_KEY]}); take that with "
            "--on-error white, or replace it with --overwrite"
        )
    print_message(f"{output}: is finished already, of the same source and parameters; --overwrite makes it anew")
    if not request.dry_run:
        folder.remove_leftovers(output)
        if request.save_mask and not request.save_mask.exists():
            save_tissue(request, ground)
    return {"state": "finished before"} | holes


def check_names(request: Request, output: Path, *, overwrite: bool) -> None:
    """Raises `OutputError` where an output or a mask could not get its name."""
    from wsisr.files import check_output, check_suffix
    from wsisr.writing.layouts.catalog import select_layout

    if request.save_mask:
        check_suffix(request.save_mask, (".png",))
        check_output(request.save_mask, overwrite=overwrite)
    check_output(output, overwrite=overwrite, marker=select_layout(output, request.options.layout).marker)


def loaded(request: Request, route: ScalePlan) -> Upscaler:
    """What enlarges a source."""
    from wsisr.models.back_projection import ConsistentUpscaler
    from wsisr.models.upscaler import Unchanged

    if route.scale == 1:
        return Unchanged()
    upscaler = request.load(scale=route.scale, mpp=route.region.mpp)
    return ConsistentUpscaler(upscaler) if request.consistency else upscaler


def looked_at(request: Request, source: SlideRegion, ground: BackgroundOptions, scale: int) -> SlideRegion:
    """A source whose remarks tell, too, where it does not look as its pixel pitch says."""
    from wsisr.upscaling.magnification_check import check_magnification

    sight = request.look(scale=scale, mpp=source.mpp) if scale > 1 else None
    doubt = check_magnification(source, ground.tissue, sight) if sight else None
    return replace(source, selection_warnings=(*source.selection_warnings, doubt)) if doubt else source


def told(request: Request, work: UpscalePlan, upscaler: Upscaler, run: RunTiming, output: Path) -> ReportRow:
    """What is to be reported of a slide that is done, said on the terminal first."""
    from wsisr.cli.console import print_message, stdout_console
    from wsisr.cli.summary import result_panel, run_figures
    from wsisr.upscaling.provenance import FINDING_KEYS, UNREADABLE_KEY, read_derived_metadata

    note = read_derived_metadata(output)
    found = {name: text for name, text in note.items() if name in FINDING_KEYS}
    if UNREADABLE_KEY in found:
        print_message(f"warning: {output}: could not be decoded and is {found[UNREADABLE_KEY]}")
    if not request.quiet:
        stdout_console.print(result_panel(work, upscaler, run, output, found))
    return {"state": "done"} | run_figures(work, upscaler, run) | found | {"note": note}
