"""`wsisr preview`: a before/after picture of one region."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsisr.cli.options import (
    BOX,
    AllowDerivedOption,
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
from wsisr.cli.selection import check_device_option, parse_numbers, report_as_usage_error


def preview_command(
    slide: Annotated[Path, slide_argument("Slide: a file or folder.", metavar="SLIDE")],
    region: Annotated[str, typer.Option(metavar=BOX, help="Box to show, in px of level 0.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.png", help="Picture to write.")],
    scale: Annotated[
        int | None,
        typer.Option(metavar="2|4", help="Enlarge 2 or 4 times. By default what fits the pixel size."),
    ] = None,
    series: SeriesOption = None,
    level: LevelOption = None,
    source_mpp: SourceMppOption = None,
    mpp: MppOption = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Model; by default the best that fits.")
    ] = None,
    device: DeviceOption = "auto",
    perception: PerceptionOption = 0.0,
    consistency: ConsistencyOption = False,
    allow_derived: AllowDerivedOption = False,
    overwrite: Annotated[bool, flag("--overwrite", "Replace a picture that exists.")] = False,
) -> None:
    """Picture one region as scanned, by bicubic and by a model."""
    from wsisr.cli.console import print_message, print_warnings
    from wsisr.cli.progress import print_first_line, show_preparation

    print_first_line(f"{slide}: the picture is to be {output}", slide)
    from wsisr.files import check_output, check_suffix, refuse_source
    from wsisr.models.back_projection import ConsistentUpscaler
    from wsisr.models.catalog import choose_default_scale
    from wsisr.models.loading import load_upscaler
    from wsisr.slides import open_slide
    from wsisr.upscaling.plan import training_range_warning
    from wsisr.upscaling.preview import draw_comparison, reference_region, save_png
    from wsisr.upscaling.provenance import DERIVED_WARNING, read_derived_metadata, refuse_derived
    from wsisr.upscaling.selection import PixelSelection

    check_device_option(device)
    with report_as_usage_error():
        selection = PixelSelection(scale, level, source_mpp, region=parse_numbers(region, int, "--region"))
    with open_slide(slide, mpp, estimate=True, series=series) as opened:
        if not allow_derived:
            refuse_derived(slide)
        elif read_derived_metadata(slide):
            print_warnings([DERIVED_WARNING])
        check_suffix(output, (".png",))
        refuse_source(output, slide)
        check_output(output, overwrite=overwrite)
        source = selection.select_region(opened)
        scale = scale or choose_default_scale(source.mpp, model)
        with show_preparation("loads the model"):
            upscaler = load_upscaler(model, scale=scale, device=device, mpp=source.mpp, perception=perception)
        upscaler = ConsistentUpscaler(upscaler) if consistency else upscaler
        print_warnings((*source.warnings, *filter(None, [training_range_warning(upscaler, source.mpp)])))
        with show_preparation("enlarges the region"):
            save_png(draw_comparison(source, upscaler), output, overwrite=overwrite)
        print_warnings(upscaler.warnings)
        print_message(f"{output}: written, enlarged by {scale}")
        if source.mpp and not reference_region(source, scale):
            print_message(f"no truth beside it: the slide was not scanned at {source.mpp / scale:.4g} um/px")
