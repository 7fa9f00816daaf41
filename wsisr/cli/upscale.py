"""`wsisr upscale`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsisr.cli.console import print_line
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
    NoGuardOption,
    PerceptionOption,
    SeriesOption,
    SourceMppOption,
    choice_option,
    flag,
    model_option,
    slide_argument,
)
from wsisr.cli.resources import check_jobs_option, parse_cluster
from wsisr.cli.run_config import apply_config, describe_configuration, format_configuration
from wsisr.cli.selection import parse_numbers, report_as_usage_error
from wsisr.cli.slide_words import SLIDES_HELP
from wsisr.cli.streams import allow_lost_output
from wsisr.errors import OptionError


def upscale_command(
    context: typer.Context,
    slides: Annotated[list[Path] | None, slide_argument(SLIDES_HELP, metavar="SLIDE")] = None,
    scale: Annotated[int | None, choice_option("2|4", help="Enlarge 2 or 4 times along each axis.")] = None,
    target_mpp: Annotated[
        float | None, typer.Option(metavar=UM_PER_PX, help="Or to this pixel size (0.25 is 40x).")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="File, or folder. By default beside the slide, as SLIDE.x2.ome.tif.",
        ),
    ] = None,
    region: Annotated[str | None, typer.Option(metavar=BOX, help="Only this box, in px of level 0.")] = None,
    mpp: MppOption = None,
    model: Annotated[str | None, model_option("Model; by default one trained on this pixel size.")] = None,
    device: DeviceOption = "auto",
    tissue: Annotated[
        str,
        choice_option(
            "auto|none|FILE",
            show_default=False,
            help="Use the network on tissue, everywhere (none), or inside a mask or GeoJSON.",
        ),
    ] = "auto",
    overwrite: Annotated[bool, flag("--overwrite", "Replace an output that exists.")] = False,
    dry_run: Annotated[bool, flag("--dry-run", "Print the plan, and write nothing.")] = False,
    series: SeriesOption = None,
    icc: Annotated[
        str,
        choice_option(
            "keep|srgb",
            rich_help_panel=INPUT,
            help="Keep the slide's colours and embed its profile, or convert the colours to sRGB.",
        ),
    ] = "keep",
    on_error: Annotated[
        str,
        choice_option(
            "stop|white",
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
        choice_option(
            "auto|bf16|fp16|fp32",
            rich_help_panel=MODEL,
            help="Number format of the network. auto is bf16 where it is fast, else fp16 on a GPU and fp32 on a CPU.",
        ),
    ] = "auto",
    perception: PerceptionOption = 0.0,
    consistency: ConsistencyOption = False,
    no_guard: NoGuardOption = False,
    tile_px: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="PX",
            rich_help_panel=MODEL,
            help="Side of a tile in input px, without its overlap. By default as large as fits into --memory.",
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
            help="ome-tiff (.tif), aperio (.svs), ome-zarr (.zarr), dicom (.dcm, a folder) or png (small results). By "
            "default that of the output's suffix, else ome-tiff.",
        ),
    ] = None,
    codec: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=OUTPUT,
            help="Compression: jpeg, the default; without loss in a TIFF deflate or lzw, in DICOM jpeg2000. OME-Zarr "
            "is always lossless zstd.",
        ),
    ] = None,
    quality: Annotated[
        int,
        typer.Option(min=1, max=100, metavar="Q", rich_help_panel=OUTPUT, help="JPEG or WebP quality of the output."),
    ] = 90,
    subsampling: Annotated[
        str,
        choice_option(
            "444|420",
            rich_help_panel=OUTPUT,
            help="JPEG colour resolution: one value for each pixel (444), or one for four (420).",
        ),
    ] = "444",
    deidentify: Annotated[
        bool,
        flag(
            "--deidentify",
            "Leave out the day of the scan, and from DICOM to DICOM patient, study and specimen; elsewhere no name of "
            "a patient is copied anyway.",
            OUTPUT,
        ),
    ] = False,
    keep_label: Annotated[
        bool, flag("--keep-label", "Copy the slide's label image, which may name a patient.", OUTPUT)
    ] = False,
    keep_macro: Annotated[
        bool, flag("--keep-macro", "Copy the slide's macro image, which may show the label.", OUTPUT)
    ] = False,
    accept_limited_viewers: Annotated[
        bool,
        flag(
            "--accept-limited-viewers",
            "Allow files that some viewers misread or cannot open, and the codecs zstd, webp and jpeg2000.",
            OUTPUT,
        ),
    ] = False,
    tissue_origin: Annotated[
        str,
        choice_option(
            "auto|canvas|bounds",
            rich_help_panel=TISSUE,
            help="Where a --tissue FILE counts from: the slide's canvas, or the corner of what was scanned.",
        ),
    ] = "auto",
    background: Annotated[
        str,
        choice_option(
            "keep|white",
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
    trust: Annotated[
        bool,
        flag(
            "--trust",
            "Also write how far each place may be off: NAME.trust.ome.tif, and doubtful areas as GeoJSON.",
            TISSUE,
        ),
    ] = False,
    _config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE.toml",
            is_eager=True,
            callback=apply_config,
            rich_help_panel=BATCH_AND_MACHINES,
            help="Take options from this file; the command line wins.",
        ),
    ] = None,
    print_config: Annotated[
        bool, flag("--print-config", "Print all options as such a file, and do nothing.", BATCH_AND_MACHINES)
    ] = False,
    jobs: Annotated[
        str,
        choice_option(
            "auto|N",
            rich_help_panel=BATCH_AND_MACHINES,
            help="Slides at a time; they share the cores and --memory. auto is one for each GPU, or one on a CPU.",
        ),
    ] = "auto",
    cluster: Annotated[
        str | None,
        choice_option(
            "local|local:N|tcp://HOST:PORT|FILE.yaml",
            rich_help_panel=BATCH_AND_MACHINES,
            help="Have the tiles computed by workers of Dask: on this machine, of a scheduler, or by jobs as a file of "
            "dask-jobqueue describes them.",
        ),
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="N|MIN:MAX",
            rich_help_panel=BATCH_AND_MACHINES,
            help="How many workers --cluster FILE.yaml starts, or between which numbers it keeps them.",
        ),
    ] = None,
    allow_mixed_workers: Annotated[
        bool,
        flag(
            "--allow-mixed-workers",
            "Use workers of --cluster that give other pixels than most, too; the file says so.",
            BATCH_AND_MACHINES,
        ),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            rich_help_panel=BATCH_AND_MACHINES,
            help="Process part I of N of the slides, I from 1, so that N machines share them. By default all.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html|.json",
            rich_help_panel=BATCH_AND_MACHINES,
            help="Write what became of each slide, updated after each: a page with pictures, or JSON for programs.",
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=BATCH_AND_MACHINES,
            help="Append every message to this file, with the time, also with --quiet.",
        ),
    ] = None,
    stage: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel=BATCH_AND_MACHINES,
            help="Copy the next slides here, from slow storage, while one is in work. By default read them in place.",
        ),
    ] = None,
    stage_limit: Annotated[
        float,
        typer.Option(
            min=0, metavar="GB", rich_help_panel=BATCH_AND_MACHINES, help="Most that such copies may take together."
        ),
    ] = 50.0,
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
            help="Where finished tiles are kept until the output is complete. By default the output's own folder.",
        ),
    ] = None,
    keep_work: Annotated[bool, flag("--keep-work", "Keep the work folder when the output is finished.", RUN)] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", metavar="", rich_help_panel=RUN, help="Print warnings, errors and tables only."),
    ] = False,
) -> None:
    """Upscale slides into new pyramidal files."""
    from wsisr.cli.cohort import run_upscale
    from wsisr.cli.output_paths import is_output_folder
    from wsisr.cli.run_options import RunOptions
    from wsisr.cli.slide_words import list_given_slides
    from wsisr.upscaling.request import UpscaleRequest

    if print_config:
        for line in format_configuration(context):
            print_line(line)
        return
    if not slides:
        raise OptionError("SLIDE is missing; wsisr upscale --help explains it")
    if not dry_run:
        allow_lost_output()
    check_jobs_option(jobs, staged=stage is not None)
    place = parse_cluster(cluster, workers, jobs=jobs, staged=stage is not None)
    listed = list_given_slides(slides, results=allow_derived)
    several = not listed.is_single or shard is not None or (output is not None and is_output_folder(output, layout))
    if several and (save_mask or tissue not in ("auto", "none")):
        raise typer.BadParameter("a mask belongs to one slide; give slides with masks one by one")
    with report_as_usage_error():
        request = UpscaleRequest(
            listed.entries[0].path,
            scale=scale,
            target_mpp=target_mpp,
            output=None if several else output,
            series=series,
            level=level,
            source_mpp=source_mpp,
            region=None if region is None else parse_numbers(region, int, "--region"),
            region_mm=None if region_mm is None else parse_numbers(region_mm, float, "--region-mm"),
            whole_canvas=whole_canvas,
            mpp=mpp,
            model=model,
            device=device,
            precision=precision,
            perception=perception,
            consistency=consistency,
            guard=not no_guard,
            tile_px=tile_px,
            overlap_px=overlap_px,
            batch=batch,
            memory=memory,
            layout=layout,
            codec=codec,
            quality=quality,
            icc=icc,
            deidentify=deidentify,
            keep_label=keep_label,
            keep_macro=keep_macro,
            allow_derived=allow_derived,
            subsampling=subsampling,
            accept_limited_viewers=accept_limited_viewers,
            tissue=tissue,
            tissue_origin=tissue_origin,
            background=background,
            save_mask=save_mask,
            trust=trust,
            on_error=on_error,
            overwrite=overwrite,
            verify=not no_verify,
            work_dir=work_dir,
            keep_work=keep_work,
            dry_run=dry_run,
        )
    folder = Path(output) if several and output is not None else None
    configuration = describe_configuration(context)
    run_upscale(
        listed.entries,
        request,
        RunOptions(
            several,
            folder,
            jobs,
            shard,
            report,
            quiet,
            log,
            stage,
            stage_limit,
            cluster=place,
            allow_mixed_workers=allow_mixed_workers,
            configuration=configuration,
        ),
    )
