"""`wsisr build-dataset simulated`: pairs whose low resolution is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    made,
)


def simulated(
    slides: SLIDES,
    output: OUTPUT,
    degradation: Annotated[
        Path | None,
        typer.Option(help="TOML file of blur, noise, sharpening and JPEG. By default what a weaker objective sees."),
    ] = None,
    scale: Annotated[list[int] | None, typer.Option(help="2, 4 or 8; may be repeated. By default 2 and 4.")] = None,
    seed: Annotated[int, typer.Option(help="Another one draws other numbers.", min=0)] = 0,
    validation: VALIDATION = None,
    patch_px: PATCH_PX = 192,
    coarsest_mpp: COARSEST_MPP = 2.1,
    most_patches: MOST_PATCHES = 1000,
    val_share: VAL_SHARE = 0.1,
    case_pattern: PATTERN = r"^[^_.]+",
    jobs: JOBS = 0,
    again: AGAIN = False,
    overwrite: OVERWRITE = False,
    quiet: QUIET = False,
) -> None:
    """Pairs whose low resolution is computed from the high one: optics, noise, sharpening, JPEG, all written down."""
    from wsisr.dataset.builder import DatasetBuilder
    from wsisr.dataset.degradation import CAPTURE, read_degradation
    from wsisr.dataset.pyramid import BuildOptions
    from wsisr.dataset.recipe import Recipe
    from wsisr.dataset.simulated import Simulation, plan_simulated_dataset
    from wsisr.dataset.slides_and_splits import assign_slides
    from wsisr.parallel.cpu import count_usable_cores

    recipe = Recipe(patch_px, coarsest_mpp, most_patches, case_pattern, val_share=val_share)
    described = read_degradation(degradation) if degradation else CAPTURE
    simulation = Simulation(described, tuple(dict.fromkeys(scale or (2, 4))), seed)
    sources = assign_slides(slides, validation or [], recipe)
    assembly = DatasetBuilder(
        plan_simulated_dataset(
            sources, output, recipe, simulation, BuildOptions(jobs or count_usable_cores(), overwrite, again)
        )
    )
    made(assembly, quiet=quiet)
    conclude(assembly, quiet=quiet)
