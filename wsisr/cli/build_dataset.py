"""`wsisr build-dataset`: training pairs, one command for each kind of them, and what can be done with a dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from wsisr.cli.captured import captured
from wsisr.cli.datasets import JOBS, OUTPUT, OVERWRITE, PATTERN, QUIET, conclude, info, made, report
from wsisr.cli.packing import pack
from wsisr.cli.simulated import simulated


def pyramid(
    slides: Annotated[list[Path], typer.Argument(help="Slides; a folder stands for the slides in it.")],
    output: OUTPUT,
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
    overlap: Annotated[
        float, typer.Option(help="Share of its side that a patch may have in common with the next.")
    ] = 0.0,
    cases: Annotated[
        Path | None, typer.Option(help="CSV with the columns slide and case, and perhaps split (train or val).")
    ] = None,
    val_share: Annotated[float, typer.Option(help="Share of cases drawn for validation.", min=0, max=1)] = 0.1,
    case_pattern: PATTERN = r"^[^_.]+",
    jobs: JOBS = 0,
    again: Annotated[
        bool, typer.Option("--again", help="Take slides that wsisr wrote, as if they were scans.")
    ] = False,
    overwrite: OVERWRITE = False,
    quiet: QUIET = False,
) -> None:
    """Pairs from the levels of slides: low resolution from a coarser level than the high one."""
    from wsisr.crew import cores
    from wsisr.dataset.assembly import Assembly
    from wsisr.dataset.pyramid import Work, plan
    from wsisr.dataset.recipe import Recipe
    from wsisr.dataset.sources import read_cases, sources_by_table, sources_of

    if cases and validation:
        raise typer.BadParameter("say the split in the table, or hold out slides, not both", param_hint="--cases")
    recipe = Recipe(patch_px, coarsest_mpp, most_patches, case_pattern, overlap, val_share)
    if cases:
        sources = sources_by_table(slides, read_cases(cases), recipe)
    else:
        sources = sources_of(slides, validation or [], recipe)
    assembly = Assembly(plan(sources, output, recipe, Work(jobs or cores(), overwrite, again)))
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
