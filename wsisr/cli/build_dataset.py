"""`wsisr build-dataset`: a command for each kind of training pairs, and commands for finished datasets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from wsisr.cli.captured import build_captured_pairs
from wsisr.cli.datasets import (
    CasePatternOption,
    CoarsestMppOption,
    DatasetJobsOption,
    DatasetOutputOption,
    DatasetOverwriteOption,
    MostPatchesOption,
    PatchPxOption,
    SlidesArgument,
    SplitByPlaceOption,
    ValidationOption,
    ValShareOption,
    announce_cases,
    announce_dataset,
    build_and_show,
    check_cases,
    dataset_info_command,
    dataset_report_command,
    print_dataset_summary,
    require_existing,
)
from wsisr.cli.options import AllowDerivedOption, ClusterWorkersOption, QuietOption, SharedClusterOption
from wsisr.cli.packing import pack_command
from wsisr.cli.resources import parse_cluster
from wsisr.cli.simulated import build_simulated_pairs
from wsisr.cli.slide_words import list_given_slides
from wsisr.cli.usage import WsisrCommand, WsisrGroup


def build_pyramid_pairs(
    slides: SlidesArgument,
    output: DatasetOutputOption,
    validation: ValidationOption = None,
    patch_px: PatchPxOption = 192,
    coarsest_mpp: CoarsestMppOption = 2.1,
    most_patches: MostPatchesOption = 1000,
    overlap: Annotated[
        float, typer.Option(metavar="P", help="Share of its side by which a patch may overlap the next.")
    ] = 0.0,
    cases: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Table with the columns slide, case and, if wanted, split (train, val)."),
    ] = None,
    val_share: ValShareOption = 0.1,
    split_by_place: SplitByPlaceOption = False,
    case_pattern: CasePatternOption = None,
    jobs: DatasetJobsOption = 0,
    cluster: SharedClusterOption = None,
    workers: ClusterWorkersOption = None,
    allow_derived: AllowDerivedOption = False,
    overwrite: DatasetOverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make pairs from the levels of slides: a coarser level is the low resolution of a finer one."""
    place = parse_cluster(cluster, workers, jobs=str(jobs or "auto"))
    announce_dataset(output, slides, quiet=quiet)
    from wsisr.dataset.builder import BuildOptions, DatasetBuilder
    from wsisr.dataset.pyramid import plan_pyramid_dataset
    from wsisr.dataset.recipe import Recipe
    from wsisr.dataset.slides_and_splits import assign_slides, assign_slides_by_table, read_case_table
    from wsisr.parallel.cpu import count_usable_cores

    if cases and validation:
        raise typer.BadParameter("give the split in the table, or slides to hold out, not both", param_hint="--cases")
    listed = list_given_slides(slides, results=allow_derived)
    held_out = list_given_slides(validation, results=allow_derived).entries if validation else ()
    if listed.is_single:  # among several, a missing slide is a failed slide
        require_existing(slides)
    recipe = Recipe(patch_px, coarsest_mpp, most_patches, case_pattern, overlap, val_share, split_by_place)
    if cases:
        sources = assign_slides_by_table(listed.entries, read_case_table(cases), recipe)
    else:
        sources = assign_slides(listed.entries, held_out, recipe)
    if split_by_place and (cases or validation):
        raise typer.BadParameter("excludes slides to hold out and a table", param_hint="--split-by-place")
    if not cases and not validation:
        check_cases(sources, recipe)
    announce_cases(sources, recipe, quiet=quiet)
    builder = DatasetBuilder(
        plan_pyramid_dataset(
            sources, output, recipe, BuildOptions(jobs or count_usable_cores(), overwrite, allow_derived)
        )
    )
    build_and_show(builder, place, quiet=quiet)
    print_dataset_summary(builder, quiet=quiet)


DATASET_COMMANDS: dict[str, Callable[..., None]] = {
    "pyramid": build_pyramid_pairs,
    "captured": build_captured_pairs,
    "simulated": build_simulated_pairs,
    "pack": pack_command,
    "info": dataset_info_command,
    "report": dataset_report_command,
}

build_dataset_app = typer.Typer(
    name="build-dataset",
    cls=WsisrGroup,
    help="Make training pairs from slides, and inspect them.",
    no_args_is_help=True,
    add_completion=False,
)
for _name, _function in DATASET_COMMANDS.items():
    build_dataset_app.command(_name, cls=WsisrCommand)(_function)
