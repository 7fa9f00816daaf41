"""`wsisr build-dataset simulated`: pairs whose low resolution is simulated."""

from __future__ import annotations

from typing import Annotated

import typer

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
    print_dataset_summary,
    require_existing,
)
from wsisr.cli.options import AllowDerivedOption, ClusterWorkersOption, QuietOption, SharedClusterOption, choice_option
from wsisr.cli.resources import parse_cluster
from wsisr.cli.slide_words import list_given_slides


def build_simulated_pairs(
    slides: SlidesArgument,
    output: DatasetOutputOption,
    degradation: Annotated[
        str,
        choice_option(
            "capture|scan|archive|FILE.toml",
            help="Blur, noise, sharpening and JPEG to simulate. By default those of a weaker objective, capture.",
        ),
    ] = "capture",
    scale: Annotated[
        list[int] | None, choice_option("2|4|8", help="Scale; may be repeated. By default 2 and 4.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the random numbers.", min=0)] = 0,
    validation: ValidationOption = None,
    patch_px: PatchPxOption = 192,
    coarsest_mpp: CoarsestMppOption = 2.1,
    most_patches: MostPatchesOption = 1000,
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
    """Make pairs whose low resolution is simulated from the high one: optics, noise, sharpening and JPEG, on record."""
    place = parse_cluster(cluster, workers, jobs=str(jobs or "auto"))
    announce_dataset(output, slides, quiet=quiet)
    from wsisr.dataset.builder import BuildOptions, DatasetBuilder
    from wsisr.dataset.degradation import choose_degradation
    from wsisr.dataset.recipe import Recipe
    from wsisr.dataset.simulated import Simulation, plan_simulated_dataset
    from wsisr.dataset.slides_and_splits import assign_slides
    from wsisr.parallel.cpu import count_usable_cores

    listed = list_given_slides(slides, results=allow_derived)
    held_out = list_given_slides(validation, results=allow_derived).entries if validation else ()
    if listed.is_single:  # among several, a missing slide is a failed slide
        require_existing(slides)
    sizes = patch_px, coarsest_mpp, most_patches
    recipe = Recipe(*sizes, case_pattern, val_share=val_share, split_by_place=split_by_place)
    simulation = Simulation(choose_degradation(degradation), tuple(dict.fromkeys(scale or (2, 4))), seed)
    sources = assign_slides(listed.entries, held_out, recipe)
    if split_by_place and validation:
        raise typer.BadParameter("excludes slides to hold out", param_hint="--split-by-place")
    if not validation:
        check_cases(sources, recipe)
    announce_cases(sources, recipe, quiet=quiet)
    options = BuildOptions(jobs or count_usable_cores(), overwrite, allow_derived)
    builder = DatasetBuilder(plan_simulated_dataset(sources, output, recipe, simulation, options))
    build_and_show(builder, place, quiet=quiet)
    print_dataset_summary(builder, quiet=quiet)
