"""`wsisr upscale`: the main job."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsisr.cli.choosing import Choice
from wsisr.files import disk_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from wsisr.background import Background
    from wsisr.cli.batch import Facts
    from wsisr.slides import Slide
    from wsisr.upscaler import Upscaler
    from wsisr.upscaling import Options


STOPPED = "stopped; what is finished is kept, and the same command goes on from there"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of every slide of a run."""

    choice: Choice
    load: Callable[..., Upscaler]
    """`load_upscaler` with model, device and precision as asked."""
    options: Options
    mpp: float | None
    """Of level 0 in um/px, where it was given."""
    icc: str
    again: bool
    overwrite: bool
    skip_finished: bool
    """Leave an output alone that an earlier run has made the same way, instead of refusing it."""
    work_dir: Path | None
    keep_work: bool
    dry_run: bool
    quiet: bool
    tissue: str
    """`auto`, `none`, or a file that marks it."""
    background: str
    save_mask: Path | None


def upscale(
    slides: Annotated[list[Path], typer.Argument(help="Slides to enlarge.", metavar="SLIDE...")],
    scale: Annotated[
        int | None, typer.Option(help="Output pixels per input pixel along one axis: 2 or 4.", show_default=False)
    ] = None,
    target_mpp: Annotated[
        float | None,
        typer.Option(
            help="Instead of a scale: pixel pitch of the output, in um/px; a network only where it takes one."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Pyramid to write, or for many slides a folder; SLIDE.xSCALE.ome.tif by default."
        ),
    ] = None,
    level: Annotated[int | None, typer.Option(help="Level to enlarge; 0, the finest, by default.", min=0)] = None,
    source_mpp: Annotated[
        float | None, typer.Option(help="Pixel pitch to enlarge from, in um/px: a finer level is shrunk to it.", min=0)
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="X,Y,WIDTH,HEIGHT in px of level 0; what was scanned by default.")
    ] = None,
    region_mm: Annotated[str | None, typer.Option(help="X,Y,WIDTH,HEIGHT in millimetres.")] = None,
    whole_canvas: Annotated[
        bool, typer.Option("--whole-canvas", help="All of level 0, even where nothing was scanned.")
    ] = False,
    mpp: Annotated[
        float | None, typer.Option(help="Pixel pitch of level 0 in um/px, where the slide does not say it or lies.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Shipped model, weights file, bicubic or lanczos; what fits by default.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:NUMBER.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, bf16, fp16 or fp32.")] = "auto",
    tile_px: Annotated[int | None, typer.Option(help="Input px that a tile completes, along one axis.", min=1)] = None,
    overlap_px: Annotated[
        int | None, typer.Option(help="Input px by which tiles overlap; what leaves no seam by default.", min=0)
    ] = None,
    batch: Annotated[int, typer.Option(help="Tiles that go through the network together.", min=1)] = 1,
    layout: Annotated[
        str | None,
        typer.Option(help="ome-tiff (.tif) or aperio (.svs); what the output's suffix stands for by default."),
    ] = None,
    codec: Annotated[str, typer.Option(help="jpeg, or without loss: deflate or lzw.")] = "jpeg",
    quality: Annotated[int, typer.Option(help="JPEG quality of the output.", min=1, max=100)] = 90,
    icc: Annotated[
        str, typer.Option(help="keep stores the slide's colours and profile as they are; srgb converts them first.")
    ] = "keep",
    again: Annotated[bool, typer.Option("--again", help="Take a slide that wsisr wrote.")] = False,
    subsampling: Annotated[str, typer.Option(help="JPEG colours: 420, or 444 at full resolution.")] = "420",
    accept_limited_viewers: Annotated[
        bool, typer.Option("--accept-limited-viewers", help="Allow codecs that some viewers cannot open.")
    ] = False,
    tissue: Annotated[
        str, typer.Option(help="What the network is for: auto finds it, none takes all; or a mask or GeoJSON file.")
    ] = "auto",
    background: Annotated[str, typer.Option(help="Where no tissue is: keep what was scanned, or white.")] = "keep",
    save_mask: Annotated[Path | None, typer.Option(help="PNG to write: the tissue in white.")] = None,
    shard: Annotated[
        str | None, typer.Option(help="NUMBER/COUNT: that part of the slides, for one of so many machines.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="JSON to write: what came of each slide.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")] = False,
    work_dir: Annotated[
        Path | None, typer.Option(help="Folder for the work in progress; the output's own by default.")
    ] = None,
    keep_work: Annotated[
        bool, typer.Option("--keep-work", help="Leave the work in progress when all is done.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and do nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and warnings only.")] = False,
) -> None:
    """Enlarge slides into new pyramidal TIFFs."""
    if icc not in ("keep", "srgb"):
        raise typer.BadParameter("choose keep or srgb", param_hint="--icc")
    if background not in ("keep", "white"):
        raise typer.BadParameter("choose keep or white", param_hint="--background")
    choice = Choice(scale, level, source_mpp, target_mpp, region, region_mm, whole_canvas)
    from wsisr.cli import batch as many
    from wsisr.runtime import load_upscaler
    from wsisr.upscaling import DEFAULT_TILE_PX, Options
    from wsisr.writing import Codec
    from wsisr.writing.layouts import LAYOUTS, check_layout

    coding = Codec(codec, quality, subsampling)
    check_layout(layout)
    coding.check_viewers(accept_limited=accept_limited_viewers)
    several = len(slides) > 1 or shard is not None or (output is not None and output.is_dir())
    if several and (save_mask or tissue not in ("auto", "none")):
        raise typer.BadParameter("a mask belongs to one slide; give slides with masks one by one")
    request = Request(
        choice,
        partial(load_upscaler, model, device=device, precision=precision),
        Options(DEFAULT_TILE_PX if tile_px is None else tile_px, overlap_px, batch, coding, layout),
        mpp=mpp,
        icc=icc,
        again=again,
        overwrite=overwrite,
        skip_finished=several and not overwrite,
        work_dir=work_dir,
        keep_work=keep_work,
        dry_run=dry_run,
        quiet=quiet,
        tissue=tissue,
        background=background,
        save_mask=save_mask,
    )
    many.check_report(report)
    change = f"x{scale}" if scale else f"{target_mpp:g}um"
    ending = change + LAYOUTS[layout or "ome-tiff"].suffix
    work = partial(enlarge, request)
    if several:
        jobs = [(slide, output_in(output, slide, ending)) for slide in slides]
        many.check_jobs(jobs)
        done = many.run(many.of_shard(jobs, shard), work, report)
        many.conclude(done, quiet=quiet)
    else:
        target = output or default_output(slides[0], ending)
        facts = work(slides[0], target)
        many.write_report(report, [{"slide": str(slides[0]), "output": str(target)} | facts])


def enlarge(request: Request, slide: Path, output: Path) -> Facts:
    """One slide, as asked, and what is to be reported of it. Raises `WsisrError`."""
    from contextlib import closing
    from dataclasses import replace

    from wsisr.cli.batch import finished
    from wsisr.cli.console import answers, passing_on, remark
    from wsisr.cli.panels import forecast, measured, pace, summary
    from wsisr.cli.progress import drawn
    from wsisr.cli.stopping import stop_asked, until
    from wsisr.files import check_output, check_suffix, refuse_source
    from wsisr.slides import InSrgb, open_slide
    from wsisr.upscaler import Unchanged
    from wsisr.upscaling import Audit, plan, work_folder
    from wsisr.upscaling import upscale as upscaled
    from wsisr.writing.layouts import layout_of

    with open_slide(slide, request.mpp, estimate=True) as stored:
        refuse_derived(slide, request.again)
        opened = InSrgb(stored) if request.icc == "srgb" else stored
        layout_of(output, request.options.layout)
        if request.save_mask:
            check_suffix(request.save_mask, (".png",))
            check_output(request.save_mask, overwrite=request.overwrite or request.dry_run)
        refuse_source(output, slide)
        check_output(output, overwrite=request.overwrite or request.skip_finished or request.dry_run)
        route = request.choice.route(opened)
        source = route.source
        upscaler = request.load(scale=route.scale, mpp=source.mpp) if route.scale > 1 else Unchanged()
        ground = background_of(request, stored, network=upscaler.weights is not None)
        options = replace(request.options, background=ground, audit=Audit(upscaler.scale))
        work = plan(source, upscaler, options)
        if request.skip_finished and finished(output, work.output.note):
            remark(f"{output}: is finished already, of the same source and parameters; --overwrite makes it anew")
            return {"state": "finished before"}
        check_output(output, overwrite=request.overwrite or request.dry_run)
        for warning in (*source.said, *filter(None, [work.warning])):
            remark(f"warning: {warning}")
        if request.dry_run:
            answers.print(forecast(work, upscaler, output))
            return {"state": "planned"}
        began = time.monotonic()
        folder = work_folder(work, upscaler, request.work_dir, keep=request.keep_work)
        making = upscaled(source, upscaler, output, options=options, overwrite=request.overwrite, folder=folder)
        with stop_asked() as stop, closing(making) as steps:
            if not request.quiet:
                sizes = f"{source.size} px to {work.output.size} px"
                remark(f"{upscaler.name}, {upscaler.hardware}: {sizes} in {len(work.grid)} steps")
            for _ in drawn(passing_on(until(steps, stop, STOPPED), upscaler.remarks), pace, quiet=request.quiet):
                pass
        save_tissue(request, ground)
        if not request.quiet:
            answers.print(summary(work, upscaler, time.monotonic() - began, output))
        return {"state": "done"} | measured(work, upscaler, time.monotonic() - began)


def save_tissue(request: Request, ground: Background) -> None:
    """The map that was used, as a picture, where it is asked for."""
    from PIL import Image

    from wsisr.preview import save

    if request.save_mask:
        picture = Image.fromarray(ground.tissue.flags.astype("uint8") * 255)
        save(picture, request.save_mask, overwrite=request.overwrite)


def background_of(request: Request, slide: Slide, *, network: bool) -> Background:
    """Tissue is looked for only where something depends on it: for a filter, all of a slide is alike."""
    from wsisr.background import Background
    from wsisr.tissue import everywhere, tissue_of

    white = request.background == "white"
    if request.tissue == "auto" and not (network or white or request.save_mask):
        return Background(everywhere())
    return Background(tissue_of(slide, request.tissue), white)


def refuse_derived(slide: Path, again: bool) -> None:
    """Raises `SlideError` for a slide that wsisr wrote: what is enlarged twice is an estimate of an estimate."""
    from wsisr.cli.info import derived_note
    from wsisr.errors import SlideError

    if not again and derived_note(slide):
        raise SlideError(f"{slide}: wsisr wrote it, its detail is an estimate; give the scan, or insist with --again")


def default_output(slide: Path, ending: str) -> Path:
    """`dir/a.svs` at x4 to `dir/a.x4.ome.tif`; beside the slide."""
    whole = slide.resolve() if slide.is_dir() else slide
    stem = whole.name if slide.is_dir() else slide.stem
    return whole.with_name(f"{stem.removesuffix('.zarr').removesuffix('.ome')}.{ending}")


def output_in(folder: Path | None, slide: Path, ending: str) -> Path:
    """The output of one slide of many: in that folder, which is made, or beside the slide."""
    beside = default_output(slide, ending)
    if folder is None:
        return beside
    with disk_errors(folder):
        folder.mkdir(exist_ok=True)
    return folder / beside.name
