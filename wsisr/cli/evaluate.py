"""`wsisr evaluate`: scores of a model on slides whose levels are the truth, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from wsisr.cli.options import (
    AllowDerivedOption,
    ConsistencyOption,
    DeviceOption,
    QuietOption,
    SeriesOption,
    flag,
    slide_argument,
)
from wsisr.cli.slide_words import SLIDES_HELP

if TYPE_CHECKING:
    from rich.table import Table

    from wsisr.evaluation import FlatProbe, Sampling, ScoreRow
    from wsisr.imaging.pixels import FilterName
    from wsisr.models.upscaler import Upscaler
    from wsisr.progress import Progress
    from wsisr.slides.listing import SlideEntry

STEPS_PER_ROW = 1000
"""Steps of the progress bar for each row of the score table."""


class KernelName(StrEnum):
    """Names of the filters that `wsisr.imaging.pixels` shrinks with."""

    area = "area"
    bicubic = "bicubic"
    lanczos = "lanczos"


class EvaluationCase(NamedTuple):
    """A level to evaluate on, and how its low-resolution input is made: one row of the score table."""

    slide: SlideEntry
    series: int | None
    level: int
    kernel: FilterName
    quality: int | None


def evaluate_command(
    slides: Annotated[list[Path], slide_argument(SLIDES_HELP, metavar="SLIDE")],
    scale: Annotated[int, typer.Option(metavar="2|4", help="Enlarge 2 or 4 times along each axis.")],
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Model, weights file, bicubic or lanczos. By default the shipped one."),
    ] = None,
    level: Annotated[
        list[int] | None, typer.Option(metavar="N", help="Level that is the truth; may be repeated. By default 0.")
    ] = None,
    all_levels: Annotated[bool, flag("--all-levels", "Use every level of at least 256 px per side.")] = False,
    series: SeriesOption = None,
    kernel: Annotated[
        list[KernelName] | None,
        typer.Option(
            metavar="area|bicubic|lanczos",
            help="Filter that makes the input; may be repeated. By default area and bicubic.",
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            metavar="Q",
            help="Store the input as JPEG (4:2:0) of this quality first, as a scanner would. By default not.",
            min=1,
            max=100,
        ),
    ] = None,
    limit_px: Annotated[
        int,
        typer.Option(
            metavar="PX",
            help="Most pixels to measure of a level; of a larger one, evenly spread blocks of 1024 px squared (x2) or "
            "2048 (x4), at least one.",
            min=1,
        ),
    ] = 64_000_000,
    device: DeviceOption = "auto",
    consistency: ConsistencyOption = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE.json", help="Write the scores as JSON, too.")
    ] = None,
    allow_derived: AllowDerivedOption = False,
    overwrite: Annotated[bool, flag("--overwrite", "Replace a JSON file that exists.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Measure a model against bicubic on slides."""
    from wsisr.cli.console import relay_warnings, stdout_console
    from wsisr.cli.progress import print_first_line, show_preparation, show_progress
    from wsisr.cli.selection import check_device_option, check_scale_option
    from wsisr.cli.slide_words import list_given_slides

    name = model or "the shipped model"
    print_first_line(f"{name} at x{scale} is measured against bicubic; the levels are the truth", *slides, quiet=quiet)
    from wsisr.evaluation import Sampling, measure_flat_images
    from wsisr.files import check_output, check_suffix
    from wsisr.models.back_projection import ConsistentUpscaler
    from wsisr.models.loading import load_upscaler
    from wsisr.upscaling.provenance import refuse_derived

    check_scale_option(scale)
    check_device_option(device)
    if level and all_levels:
        raise typer.BadParameter("--level and --all-levels exclude each other")
    if json_file:
        check_suffix(json_file, (".json",))
        check_output(json_file, overwrite=overwrite)
    listed = list_given_slides(slides, results=allow_derived)
    for slide in () if allow_derived else listed.paths:
        refuse_derived(slide)
    kernels = choose_filters(kernel)
    images = list(_list_levels(listed.entries, series, level or [0], all_levels))
    cases = [EvaluationCase(*image, filter_name, quality) for image in images for filter_name in kernels]
    with show_preparation("loads the model", quiet=quiet):
        upscaler = load_upscaler(model, scale=scale, device=device)
        upscaler = ConsistentUpscaler(upscaler) if consistency else upscaler
        probes = measure_flat_images(upscaler, kernels)
    rows: list[ScoreRow] = []
    sampling = Sampling(limit_px=limit_px)
    steps = _evaluate_cases(cases, upscaler, sampling, rows)
    for _ in show_progress(relay_warnings(steps, upscaler.warnings), _format_pace, quiet=quiet):
        pass
    stdout_console.print(_build_score_table(rows, upscaler), _build_probe_table(probes))
    _print_sampling(rows, sampling.block_px * scale)
    if json_file:
        _write_scores(json_file, upscaler, (rows, probes), overwrite=overwrite)


def choose_filters(names: Sequence[KernelName] | None) -> list[FilterName]:
    """Return the requested filters, each once; by default area and bicubic."""
    return list(dict.fromkeys(name.value for name in names or (KernelName.area, KernelName.bicubic)))


def _list_levels(
    slides: Sequence[SlideEntry], series: int | None, levels: Sequence[int], all_levels: bool
) -> Iterator[tuple[SlideEntry, int | None, int]]:
    """Yield slide, series and level of each image. Opens all, so that unreadable slides stop the command early."""
    from wsisr.cli.console import print_warnings
    from wsisr.evaluation import list_levels_to_evaluate
    from wsisr.slides import open_slide

    for entry in slides:
        with open_slide(entry.path, entry.mpp, series=series) as slide:
            print_warnings(slide.info.warnings)
            for level in list_levels_to_evaluate(slide.info) if all_levels else dict.fromkeys(levels):
                slide.info.get_level(level)
                yield entry, series, level


def _evaluate_cases(
    jobs: Sequence[EvaluationCase], upscaler: Upscaler, sampling: Sampling, rows: list[ScoreRow]
) -> Iterator[Progress]:
    """Evaluate the cases one by one, append a row for each, and yield progress."""
    from wsisr.evaluation import ScoreRow
    from wsisr.evaluation import evaluate_level as evaluated
    from wsisr.progress import Progress
    from wsisr.slides import open_slide

    total = STEPS_PER_ROW * len(jobs)
    yield Progress("evaluate", 0, total)
    for number, job in enumerate(jobs):
        with open_slide(job.slide.path, job.slide.mpp, series=job.series) as slide:
            for step in evaluated(slide, upscaler, job.level, job.kernel, sampling, job.quality):
                if isinstance(step, ScoreRow):
                    rows.append(step)
                else:
                    yield Progress("evaluate", STEPS_PER_ROW * number + STEPS_PER_ROW * step.done // step.total, total)


def _format_pace(progress: Progress, seconds: float) -> str:
    return f"{progress.done // STEPS_PER_ROW}/{progress.total // STEPS_PER_ROW} images in {seconds:.0f} s"


def _print_sampling(rows: Sequence[ScoreRow], block_px: int) -> None:
    from wsisr.cli.console import print_message

    for row in rows:
        if row.pixels < row.level_pixels:
            share = f"{row.pixels / 1e6:.3g} of {row.level_pixels / 1e6:.3g} Mpx, in blocks of {block_px} px squared,"
            image = f"{row.slide}: level {row.level}, {row.kernel}"
            print_message(f"{image}: {share} stand for the level; --limit-px sets how much")


def _build_score_table(rows: Sequence[ScoreRow], upscaler: Upscaler) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from wsisr.cli.console import literal_text
    from wsisr.evaluation import summarise_rows

    name, scale = upscaler.info.name, upscaler.info.scale
    title = f"{name} x{scale}: above bicubic; texture is a distance from the truth's, bicubic's>model's"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("slide", overflow="fold", min_width=10)
    table.add_column("input>truth\num/px", no_wrap=True)
    table.add_column("input", no_wrap=True)
    for name in ("bicubic\ndB", "back-\nproj.", "model", "SSIM", "texture", "input\nerror", "flat"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(literal_text(row.slide.name), _format_pixel_sizes(row), _format_input(row), *_format_scores(row))
    mean = summarise_rows(rows)
    table.add_section()
    table.add_row(
        "mean (flat: lowest)",
        "",
        "",
        "",
        _format_gain(mean.back_projection_gain),
        _format_gain(mean.gain),
        f"{mean.model_ssim - mean.bicubic_ssim:+.3f}",
        _format_change(mean.bicubic_texture, mean.model_texture),
        f"{mean.consistency_error:.2f}",
        _format_gain(mean.flat_gain),
        style="bold",
    )
    worst = mean.worst
    table.add_row(
        literal_text(f"worst: {worst.slide.name}"),
        _format_pixel_sizes(worst),
        _format_input(worst),
        *_format_scores(worst),
        style="bold",
    )
    return table


def _format_input(row: ScoreRow) -> str:
    return f"{row.kernel}\nJPEG {row.quality}" if row.quality else row.kernel


def _format_scores(row: ScoreRow) -> list[str]:
    """Return the columns after the input."""
    before, after = (scores.texture.distance if scores.texture else None for scores in (row.bicubic, row.model))
    return [
        f"{row.bicubic.psnr:.2f}",
        _format_gain(row.back_projection_gain),
        _format_gain(row.gain),
        f"{row.model.ssim - row.bicubic.ssim:+.3f}",
        _format_change(before, after),
        f"{row.model.consistency_error:.2f}",
        _format_gain(row.flat.gain if row.flat else None),
    ]


def _build_probe_table(probes: Sequence[FlatProbe]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title="made-up flat images", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("image")
    table.add_column("input")
    for name in ("bicubic dB", "model gain", "largest error"):
        table.add_column(name, justify="right")
    for probe in probes:
        error = f"{probe.largest_error} grey"
        table.add_row(probe.name, probe.kernel, f"{probe.bicubic_psnr:.2f}", _format_gain(probe.gain), error)
    return table


def _format_pixel_sizes(row: ScoreRow) -> str:
    if row.mpp_lr is None or row.mpp_hr is None:
        return f"unknown, level {row.level}"
    return f"{row.mpp_lr:.3g}>{row.mpp_hr:.3g}"


def _format_gain(gain: float | None) -> str:
    return "-" if gain is None else f"{gain:+.2f}"


def _format_change(before: float | None, after: float | None) -> str:
    """Return bicubic's distance and the model's, as `0.31>0.12`."""
    return "-" if before is None or after is None else f"{before:.2f}>{after:.2f}"


def _write_scores(
    path: Path, upscaler: Upscaler, found: tuple[Sequence[ScoreRow], Sequence[FlatProbe]], *, overwrite: bool
) -> None:
    """Write the scores as JSON, whole or not at all."""
    import json

    from wsisr.evaluation import build_json_report
    from wsisr.files import write_atomically

    facts = {"model": upscaler.info.name, "scale": upscaler.info.scale} | build_json_report(*found)
    text = json.dumps(facts, indent=2, allow_nan=False) + "\n"
    write_atomically(path, [text.encode()], overwrite=overwrite)
