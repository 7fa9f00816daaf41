"""`wsisr build-dataset simulated`: pairs whose low resolution is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsisr.cli.datasets import JOBS, OUTPUT, OVERWRITE, PATTERN, QUIET, conclude, made


def simulated(
    slides: Annotated[list[Path], typer.Argument(help="Slides; a folder stands for the slides in it.")],
    output: OUTPUT,
    degradation: Annotated[
        Path | None,
        typer.Option(help="TOML file of blur, noise, sharpening and JPEG. By default what a weaker objective sees."),
    ] = None,
    scale: Annotated[list[int] | None, typer.Option(help="2, 4 or 8; may be repeated. By default 2 and 4.")] = None,
    seed: Annotated[int, typer.Option(help="Another one draws other numbers.", min=0)] = 0,
    validation: Annotated[
        list[Path] | None,
        typer.Option(help="Slide or folder to hold out for validation; may be repeated. By default cases are drawn."),
    ] = None,
    patch_px: Annotated[int, typer.Option(help="Side of a high-resolution patch.", min=64)] = 192,
    coarsest_mpp: Annotated[float, typer.Option(help="Coarsest high resolution, in um/px.", min=0)] = 2.1,
    most_patches: Annotated[
        int,
        typer.Option(help="Patches with contrast per level of a slide at the most; a few of glass come on top.", min=1),
    ] = 1000,
    val_share: Annotated[float, typer.Option(help="Share of cases drawn for validation.", min=0, max=1)] = 0.1,
    case_pattern: PATTERN = r"^[^_.]+",
    jobs: JOBS = 0,
    again: Annotated[
        bool, typer.Option("--again", help="Take slides that wsisr wrote, as if they were scans.")
    ] = False,
    overwrite: OVERWRITE = False,
    quiet: QUIET = False,
) -> None:
    """Pairs whose low resolution is computed from the high one: optics, noise, sharpening, JPEG, all written down."""
    from wsisr.crew import cores
    from wsisr.dataset.assembly import Assembly
    from wsisr.dataset.degradation import CAPTURE, read_degradation
    from wsisr.dataset.pyramid import Work
    from wsisr.dataset.recipe import Recipe
    from wsisr.dataset.simulated import Simulation, plan
    from wsisr.dataset.sources import sources_of

    recipe = Recipe(patch_px, coarsest_mpp, most_patches, case_pattern, val_share=val_share)
    described = read_degradation(degradation) if degradation else CAPTURE
    simulation = Simulation(described, tuple(dict.fromkeys(scale or (2, 4))), seed)
    sources = sources_of(slides, validation or [], recipe)
    assembly = Assembly(plan(sources, output, recipe, simulation, Work(jobs or cores(), overwrite, again)))
    made(assembly, quiet=quiet)
    conclude(assembly, quiet=quiet)
