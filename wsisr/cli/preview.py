"""`wsisr preview`: a before/after picture of one region or several."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsisr.cli.options import (
    BOX,
    AllowDerivedOption,
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
from wsisr.cli.resources import warn_of_unused_gpu
from wsisr.cli.selection import check_device_option, parse_numbers, report_as_usage_error
from wsisr.cli.slide_words import SLIDES_HELP, list_given_slides

if TYPE_CHECKING:
    from wsisr.cli.batch import BatchItem
    from wsisr.slides.listing import SlideList
    from wsisr.slides.region import SlideRegion


def preview_command(
    slides: Annotated[list[Path], slide_argument(SLIDES_HELP, metavar="SLIDE")],
    region: Annotated[
        list[str] | None,
        typer.Option(metavar=BOX, help="Box to show, in px of level 0; may be repeated. By default on the tissue."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.png",
            help="Picture, or folder for those of several slides. By default beside the slide, as SLIDE.preview.png.",
        ),
    ] = None,
    scale: Annotated[
        int | None,
        choice_option("2|4", help="Enlarge 2 or 4 times. By default what fits the pixel size."),
    ] = None,
    truth: Annotated[
        bool, flag("--truth", "Start from the slide shrunk by the scale, so that the truth stands beside the result.")
    ] = False,
    zoom: Annotated[
        int, typer.Option(min=1, max=16, metavar="N", help="Show each pixel of the result N times along each axis.")
    ] = 1,
    count: Annotated[
        int, typer.Option(min=1, max=12, metavar="N", help="Regions to find on the tissue, without --region.")
    ] = 1,
    series: SeriesOption = None,
    level: LevelOption = None,
    source_mpp: SourceMppOption = None,
    mpp: MppOption = None,
    model: Annotated[str | None, model_option("Model; by default the best that fits.")] = None,
    device: DeviceOption = "auto",
    perception: PerceptionOption = 0.0,
    consistency: ConsistencyOption = False,
    no_guard: NoGuardOption = False,
    allow_derived: AllowDerivedOption = False,
    overwrite: Annotated[bool, flag("--overwrite", "Replace a picture that exists.")] = False,
) -> None:
    """Picture regions as scanned, by bicubic and by a model."""
    from wsisr.cli.batch import check_each_file
    from wsisr.cli.console import print_message, print_warnings
    from wsisr.cli.progress import print_first_line, show_preparation

    listed = list_given_slides(slides, results=allow_derived)
    items = plan_pictures(listed, output)
    for item in items.values():
        print_first_line(f"{item.slide}: the picture is to be {item.output}", item.slide)
    from wsisr.cli.exit_codes import EXIT_PARTLY_FAILED
    from wsisr.files import check_output, check_suffix, refuse_source
    from wsisr.models import loading
    from wsisr.slides import open_slide
    from wsisr.upscaling.preview import reference_region, save_png
    from wsisr.upscaling.preview_request import PreviewRequest, plan_preview

    check_device_option(device)
    warn_of_unused_gpu(device, model)
    with report_as_usage_error():
        boxes = [parse_numbers(box, int, "--region") for box in region] if region else None

    def make_request(item: BatchItem) -> PreviewRequest:
        with report_as_usage_error():
            return PreviewRequest(
                item.slide,
                region=boxes,
                scale=scale,
                series=series,
                level=level,
                source_mpp=source_mpp,
                truth=truth,
                zoom=zoom,
                count=count,
                mpp=item.mpp or mpp,
                model=model,
                device=device,
                perception=perception,
                consistency=consistency,
                guard=not no_guard,
                allow_derived=allow_derived,
            )

    requests = {item.slide: make_request(item) for item in items.values()}

    def draw(slide: Path) -> bool:
        request, picture = requests[slide], items[slide].output
        with open_slide(slide, request.mpp, estimate=True, series=series) as opened:
            check_suffix(picture, (".png",))
            refuse_source(picture, slide)
            check_output(picture, overwrite=overwrite)
            with show_preparation("loads the model, looks for tissue"):
                plan = plan_preview(request, opened, loading)
            print_warnings(plan.warnings)
            if boxes is None:
                print_message(f"shows {' '.join(map(describe_place, plan.regions))}")
            with show_preparation("enlarges the region"):
                save_png(plan.draw(), picture, overwrite=overwrite)
            print_warnings(plan.upscaler.warnings)
            source, factor = plan.regions[0], plan.upscaler.info.scale
            shown = f"; each pixel is shown {request.zoom} times as large" if request.zoom > 1 else ""
            print_message(f"{picture}: written, enlarged by {factor}{shown}")
            if source.mpp and not reference_region(source, factor):
                print_message(
                    f"no truth beside it: the slide was not scanned at {source.mpp / factor:.4g} um/px; --truth starts "
                    "one step coarser"
                )
        return True

    check_each_file(list(items), draw, EXIT_PARTLY_FAILED)


def describe_place(region: SlideRegion) -> str:
    """Return the option that shows a region again: `--region 512,1024,320,256`."""
    left, top, right, bottom = map(round, region.level0_extent)
    return f"--region {left},{top},{right - left},{bottom - top}"


def plan_pictures(listed: SlideList, output: str | None) -> dict[Path, BatchItem]:
    """Return each slide with its picture: the output, or for several slides `SLIDE.png` in that folder; without an
    output `SLIDE.preview.png` beside each.

    Raises `OutputError` if two slides would have one picture, or several are to go into one.
    """
    from wsisr.cli.batch import BatchItem, refuse_shared_outputs
    from wsisr.errors import OutputNameError
    from wsisr.files import translate_disk_errors
    from wsisr.upscaling.request import default_output_path

    if output is None:
        beside = [
            BatchItem(entry.path, default_output_path(entry.path, "preview.png"), entry.mpp) for entry in listed.entries
        ]
        refuse_shared_outputs(beside)
        return {item.slide: item for item in beside}
    folder = Path(output)
    is_folder = not listed.is_single or output.endswith(("/", os.sep)) or folder.is_dir() or not folder.suffix
    items = {
        entry.path: BatchItem(entry.path, folder / f"{entry.path.stem}.png" if is_folder else folder, entry.mpp)
        for entry in listed.entries
    }
    refuse_shared_outputs(list(items.values()))
    if is_folder and folder.suffix.lower() == ".png" and not folder.is_dir():
        raise OutputNameError(f"{folder}: is a name for one picture, not for those of several slides; give a folder")
    if is_folder:
        with translate_disk_errors(folder):
            folder.mkdir(exist_ok=True)
    return items
