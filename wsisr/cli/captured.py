"""`wsisr build-dataset captured`: pairs of two captures of one specimen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsisr.cli.datasets import (
    CasePatternOption,
    DatasetOutputOption,
    DatasetOverwriteOption,
    PatchPxOption,
    SplitByPlaceOption,
    ValShareOption,
    announce_cases,
    announce_dataset,
    build_and_show,
    check_cases,
    print_dataset_summary,
    require_existing,
)
from wsisr.cli.options import ClusterWorkersOption, QuietOption, SharedClusterOption
from wsisr.cli.resources import parse_cluster


def build_captured_pairs(
    low: Annotated[Path, typer.Argument(metavar="LOW", help="Coarser capture: a slide or a folder of fields.")],
    high: Annotated[Path, typer.Argument(metavar="HIGH", help="Finer capture: a slide or a folder of fields.")],
    output: DatasetOutputOption,
    mpp: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LOW HIGH", help="Pixel sizes of the captures in um/px, if the files record none."),
    ] = None,
    patch_px: PatchPxOption = 192,
    most_patches: Annotated[int, typer.Option(metavar="N", help="Most patches from one capture.", min=1)] = 1000,
    val_share: ValShareOption = 0.1,
    split_by_place: SplitByPlaceOption = False,
    case_pattern: CasePatternOption = None,
    jobs: Annotated[int, typer.Option(metavar="N", help="Captures at a time; 0 is one for each core.", min=0)] = 0,
    cluster: SharedClusterOption = None,
    workers: ClusterWorkersOption = None,
    overwrite: DatasetOverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make pairs from two captures of one specimen, registered field by field; fields that do not fit are counted."""
    place = parse_cluster(cluster, workers, jobs=str(jobs or "auto"))
    announce_dataset(output, [low, high], quiet=quiet)
    from wsisr.dataset.builder import BuildOptions, DatasetBuilder
    from wsisr.dataset.captured import CaptureSet, plan_captured_dataset
    from wsisr.dataset.captures import list_captures
    from wsisr.dataset.recipe import Recipe
    from wsisr.parallel.cpu import count_usable_cores

    recipe = Recipe(
        patch_px,
        most_patches=most_patches,
        case_pattern=case_pattern,
        val_share=val_share,
        split_by_place=split_by_place,
    )
    require_existing([low, high])
    low_captures = tuple(list_captures(low, recipe))
    mpp_low, mpp_high = mpp or (None, None)
    pairs = [
        CaptureSet(capture, low_captures, mpp_high=mpp_high, mpp_low=mpp_low) for capture in list_captures(high, recipe)
    ]
    sources = [pair.high for pair in pairs]
    check_cases(sources, recipe, "")
    announce_cases(sources, recipe, quiet=quiet)
    builder = DatasetBuilder(
        plan_captured_dataset(pairs, output, recipe, BuildOptions(jobs or count_usable_cores(), overwrite))
    )
    build_and_show(builder, place, quiet=quiet)
    print_dataset_summary(builder, quiet=quiet)
