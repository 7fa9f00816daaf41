"""`wsisr build-dataset`: training pairs, one command for each kind of them, and what can be done with a dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from wsisr.cli.captured import captured
from wsisr.cli.datasets import (
    AGAIN,
    COARSEST_MPP,
    JOBS,
    MOST_PATCHES,
    OUTPUT,
    OVERWRITE,
    PATCH_PX,
    PATTERN,
    QUIET,
    SLIDES,
    VAL_SHARE,
    VALIDATION,
    conclude,
    info,
    made,
    report,
)
from wsisr.cli.packing import pack
from wsisr.cli.simulated import simulated


def pyramid(
    slides: SLIDES,
    output: OUTPUT,
    validation: VALIDATION = None,
    patch_px: PATCH_PX = 192,
    coarsest_mpp: COARSEST_MPP = 2.1,
    most_patches: MOST_PATCHES = 1000,
    overlap: Annotated[
        float, typer.Option(help="Share of its side that a patch may have in common with the next.")
    ] = 0.0,
    cases: Annotated[
        Path | None, typer.Option(help="CSV with the columns slide and case, and perhaps split (train or val).")
    ] = None,
    val_share: VAL_SHARE = 0.1,
    case_pattern: PATTERN = r"^[^_.]+",
    jobs: JOBS = 0,
    again: AGAIN = False,
    overwrite: OVERWRITE = False,
    quiet: QUIET = False,
) -> None:
    """Pairs from the levels of slides: low resolution from a coarser level than the high one."""
    from wsisr.dataset.builder import DatasetBuilder
    from wsisr.dataset.pyramid import BuildOptions, plan_pyramid_dataset
    from wsisr.dataset.recipe import Recipe
    from wsisr.dataset.slides_and_splits import assign_slides, assign_slides_by_table, read_case_table
    from wsisr.parallel.cpu import count_usable_cores

    if cases and validation:
        raise typer.BadParameter("say the split in the table, or hold out slides, not both", param_hint="--cases")
    recipe = Recipe(patch_px, coarsest_mpp, most_patches, case_pattern, overlap, val_share)
    if cases:
        sources = assign_slides_by_table(slides, read_case_table(cases), recipe)
    else:
        sources = assign_slides(slides, validation or [], recipe)
    assembly = DatasetBuilder(
        plan_pyramid_dataset(sources, output, recipe, BuildOptions(jobs or count_usable_cores(), overwrite, again))
    )
    made(assembly, quiet=quiet)
    conclude(assembly, quiet=quiet)


COMMANDS: tuple[Callable[..., None], ...] = (pyramid, captured, simulated, pack, info, report)

build_dataset = typer.Typer(
    name="build-dataset",
    help="Make training pairs from slides, and see to them.",
    no_args_is_help=True,
    add_completion=False,
)
for _command in COMMANDS:
    build_dataset.command()(_command)
