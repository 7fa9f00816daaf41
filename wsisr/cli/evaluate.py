"""`wsisr evaluate`: scores of a model on slides whose levels are the truth, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsisr.cli.datasets import CasePatternOption
from wsisr.cli.evaluation_run import EvaluationCase, EvaluationFindings, EvaluationSetup, run_evaluation
from wsisr.cli.nuclei_tables import build_nuclei_summary, build_nuclei_table
from wsisr.cli.options import (
    AllowDerivedOption,
    ClusterWorkersOption,
    ConsistencyOption,
    DeviceOption,
    NoGuardOption,
    QuietOption,
    SeriesOption,
    SharedClusterOption,
    choice_option,
    flag,
    model_option,
    slide_argument,
)
from wsisr.cli.resources import parse_cluster, warn_of_unused_gpu
from wsisr.cli.score_tables import build_probe_table, build_score_table, build_summary_table
from wsisr.cli.slide_failures import SlideFailures
from wsisr.cli.slide_words import SLIDES_HELP

if TYPE_CHECKING:
    from rich.table import Table

    from wsisr.evaluation import ScoreRow
    from wsisr.imaging.pixels import FilterName
    from wsisr.slides.listing import SlideEntry


class KernelName(StrEnum):
    """Names of the filters that `wsisr.imaging.pixels` shrinks with."""

    area = "area"
    bicubic = "bicubic"
    lanczos = "lanczos"


def evaluate_command(
    slides: Annotated[list[Path], slide_argument(SLIDES_HELP, metavar="SLIDE")],
    scale: Annotated[int, choice_option("2|4", help="Enlarge 2 or 4 times along each axis.")],
    model: Annotated[
        str | None,
        model_option("Model, weights file, bicubic or lanczos. By default the shipped one."),
    ] = None,
    level: Annotated[
        list[int] | None, typer.Option(metavar="N", help="Level that is the truth; may be repeated. By default 0.")
    ] = None,
    all_levels: Annotated[bool, flag("--all-levels", "Use every level of at least 256 px per side.")] = False,
    series: SeriesOption = None,
    kernel: Annotated[
        list[KernelName] | None,
        choice_option(
            "area|bicubic|lanczos",
            help="Filter that makes further inputs; may be repeated. By default area and bicubic.",
        ),
    ] = None,
    as_stored: Annotated[
        bool,
        flag("--as-stored/--no-as-stored", "First an input as archives hold it: area mean, then JPEG 75 (4:2:0)."),
    ] = True,
    densities: Annotated[
        bool, flag("--densities", "Also the first input darker (optical density x 1.5) and faded (x 0.5, 0.3, 0.15).")
    ] = False,
    pixel_sizes: Annotated[
        bool, flag("--pixel-sizes", "Also the first input at pixel sizes between levels, in steps of 2^(1/4).")
    ] = False,
    real_levels: Annotated[
        bool,
        flag("--real-levels", "Also coarser levels that the slide itself holds, against level 0, registered."),
    ] = False,
    nuclei: Annotated[
        bool, flag("--nuclei", "Also find the nuclei, and tell how well they agree with the truth's.")
    ] = False,
    case_pattern: CasePatternOption = None,
    quality: Annotated[
        int | None,
        typer.Option(
            metavar="Q",
            help="Store the inputs of --kernel as JPEG (4:2:0) of this quality. By default not.",
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
    no_guard: NoGuardOption = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html|.json",
            help="Write a report, too: a page with charts and pictures, or JSON for programs.",
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE.json", help="Write the scores as JSON, too.")
    ] = None,
    cluster: SharedClusterOption = None,
    workers: ClusterWorkersOption = None,
    allow_derived: AllowDerivedOption = False,
    overwrite: Annotated[bool, flag("--overwrite", "Replace a report or JSON file that exists.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Measure a model against bicubic on slides."""
    from wsisr.cli.console import print_message
    from wsisr.cli.evaluation_files import EvaluationFiles
    from wsisr.cli.progress import print_first_line
    from wsisr.cli.slide_words import list_given_slides

    print_first_line(
        f"{model or 'the shipped model'} at x{scale} is measured against bicubic; the levels are the truth",
        *slides,
        quiet=quiet,
    )
    from wsisr.dataset.recipe import Recipe
    from wsisr.evaluation import NucleiOptions, Sampling, list_inputs
    from wsisr.evaluation.tasks import ScoredModel
    from wsisr.files import check_suffix
    from wsisr.upscaling.provenance import refuse_derived

    _check_choices(scale, device, level if all_levels else None)
    place = parse_cluster(cluster, workers)
    if place is None:
        warn_of_unused_gpu(device, model)
    if json_file:
        check_suffix(json_file, (".json",))
    files = EvaluationFiles([*filter(None, (report, json_file))], overwrite)
    files.check()
    listed = list_given_slides(slides, results=allow_derived)
    failures = SlideFailures(len(listed.entries))
    failures.check_each(() if allow_derived else listed.paths, refuse_derived)
    derive_case = Recipe(case_pattern=case_pattern).derive_case
    kernels = choose_filters(kernel)
    images = list(_list_levels(listed.entries, series, level or [0], all_levels, failures))
    usable = [entry for entry in listed.entries if entry.path not in failures.errors]
    if nuclei:
        _check_nuclei(usable, series)
    inputs = list_inputs(kernels, quality, as_stored=as_stored, densities=densities, pixel_sizes=pixel_sizes)
    cases = [EvaluationCase(*image, source) for image in images for source in inputs]
    cases += _list_real_levels(usable, series, scale) if real_levels else ()
    cases.sort(key=lambda case: listed.entries.index(case.slide))
    if not cases:
        failures.exit_if_any()
    setup = EvaluationSetup(
        ScoredModel(model, scale, device, guard=not no_guard, consistency=consistency),
        list_inputs(kernels, quality, as_stored=as_stored),
        Sampling(limit_px=limit_px),
        NucleiOptions() if nuclei else None,
        place,
    )
    findings = EvaluationFindings([], files, failures)
    upscaler, probes = run_evaluation(cases, setup, findings, quiet=quiet)
    rows = findings.rows
    files.failed = failures.to_json()
    files.write(upscaler, rows, probes, derive_case)  # first: nobody may read the tables, or there may be no room
    tables = [build_score_table(rows, upscaler), build_summary_table(rows, derive_case), build_probe_table(probes)]
    _print_tables([*tables, *([build_nuclei_table(rows), build_nuclei_summary(rows, derive_case)] if nuclei else [])])
    for path in files.paths:
        print_message(f"{path}: written", quiet=quiet)
    _print_sampling(rows, setup.sampling.block_px * scale)
    failures.exit_if_any()


def _print_tables(tables: Sequence[Table]) -> None:
    """Print tables with an empty line between them: each has a title, which would otherwise end the one above."""
    from wsisr.cli.console import stdout_console

    for number, table in enumerate(tables):
        if number:
            stdout_console.print()
        stdout_console.print(table)


def _check_choices(scale: int, device: str, excluded_levels: Sequence[int] | None) -> None:
    """Raise `typer.BadParameter` for an unknown scale or device, and for levels beside --all-levels."""
    from wsisr.cli.selection import check_device_option, check_scale_option

    check_scale_option(scale)
    check_device_option(device)
    if excluded_levels:
        raise typer.BadParameter("--level and --all-levels exclude each other")


def choose_filters(names: Sequence[KernelName] | None) -> list[FilterName]:
    """Return the requested filters, each once; by default area and bicubic."""
    return list(dict.fromkeys(name.value for name in names or (KernelName.area, KernelName.bicubic)))


def _list_levels(
    slides: Sequence[SlideEntry],
    series: int | None,
    levels: Sequence[int],
    all_levels: bool,
    failures: SlideFailures,
) -> Iterator[tuple[SlideEntry, int | None, int]]:
    """Yield slide, series and level of each image. Opens all, so that unreadable slides are known before any work."""
    from wsisr.cli.console import print_warnings
    from wsisr.evaluation import list_levels_to_evaluate
    from wsisr.slides import open_slide

    for entry in slides:
        if entry.path in failures.errors:
            continue
        chosen = list(dict.fromkeys(levels))
        with failures.catch(entry.path), open_slide(entry.path, entry.mpp, series=series) as slide:
            print_warnings(slide.info.warnings)
            chosen = list_levels_to_evaluate(slide.info) if all_levels else chosen
            for level in chosen:
                slide.info.get_level(level)
        if entry.path not in failures.errors:
            yield from ((entry, series, level) for level in chosen)


def _check_nuclei(slides: Sequence[SlideEntry], series: int | None) -> None:
    """Stop before anything is measured if scikit-image or the pixel size of a slide is missing."""
    from wsisr.evaluation import check_nuclei_extra, check_nuclei_pixel_size
    from wsisr.slides import open_slide

    check_nuclei_extra()
    for entry in slides:
        with open_slide(entry.path, entry.mpp, series=series) as slide:
            check_nuclei_pixel_size(slide.info)


def _list_real_levels(slides: Sequence[SlideEntry], series: int | None, scale: int) -> Iterator[EvaluationCase]:
    """Yield a case for each level that is an input; says which slides have none, and which levels are refused."""
    from wsisr.cli.console import print_message, print_warnings
    from wsisr.errors import SlideError
    from wsisr.evaluation import EvaluationInput, list_stored_inputs, measure_level_shift
    from wsisr.slides import open_slide

    for entry in slides:
        with open_slide(entry.path, entry.mpp, series=series) as slide:
            levels = list_stored_inputs(slide.info, scale)
            if not levels:
                print_message(f"{entry.path}: has no level that is a multiple of {scale} coarser than level 0")
            for level in levels:
                try:
                    measure_level_shift(slide, level)
                except SlideError as error:  # before anything is measured that would be lost
                    print_warnings([str(error)])
                else:
                    yield EvaluationCase(entry, series, 0, EvaluationInput(kernel=None, stored_level=level))


def _print_sampling(rows: Sequence[ScoreRow], block_px: int) -> None:
    from wsisr.cli.console import print_message

    first_of_level = {(row.slide, row.level): row for row in reversed(rows)}
    for row in reversed(first_of_level.values()):
        if row.pixels < row.level_pixels:
            share = f"{row.pixels / 1e6:.3g} of {row.level_pixels / 1e6:.3g} Mpx, in blocks of {block_px} px squared,"
            image = f"{row.slide}: level {row.level}"
            print_message(f"{image}: {share} stand for the level; --limit-px sets how much")
