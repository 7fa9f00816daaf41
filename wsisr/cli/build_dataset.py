"""`wsisr build-dataset`: training pairs from slides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from wsisr.dataset.sources import DatasetSlide
    from wsisr.dataset.store import PatchRecord

SPLITS = ("train", "val")


def build_dataset(
    slides: Annotated[list[Path], typer.Argument(help="Slides; a folder stands for the slides in it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make.")],
    validation: Annotated[
        list[Path] | None,
        typer.Option(help="Slide or folder to hold out for validation; may be repeated. By default cases are drawn."),
    ] = None,
    patch_px: Annotated[int, typer.Option(help="Side of a high-resolution patch.", min=64)] = 256,
    coarsest_mpp: Annotated[float, typer.Option(help="Coarsest high resolution, in um/px.", min=0)] = 2.1,
    most_patches: Annotated[
        int,
        typer.Option(help="Patches with contrast per level of a slide at the most; a few of glass come on top.", min=1),
    ] = 1000,
    val_share: Annotated[float, typer.Option(help="Share of cases drawn for validation.", min=0, max=1)] = 0.1,
    case_pattern: Annotated[
        str, typer.Option(help="Regular expression for what of a file name is the patient or specimen.")
    ] = r"^[^_.]+",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and warnings only.")] = False,
) -> None:
    """Cut training pairs from the levels of slides."""
    from contextlib import closing

    from wsisr.cli.console import answers
    from wsisr.cli.progress import counted, drawn
    from wsisr.cli.stopping import stop_asked, until
    from wsisr.dataset.pyramid import build
    from wsisr.dataset.recipe import Recipe
    from wsisr.dataset.sources import sources_of
    from wsisr.dataset.store import PatchStore

    recipe = Recipe(patch_px, coarsest_mpp, most_patches, case_pattern, val_share)
    sources = sources_of(slides, validation or [], recipe)
    with stop_asked() as stop, closing(build(sources, output, recipe)) as steps:
        for _ in drawn(until(steps, stop), counted, quiet=quiet):
            pass
    records = PatchStore(output).records
    warn(sources, records)
    if not quiet:
        answers.print(table(output, records))


def warn(sources: Sequence[DatasetSlide], records: Iterable[PatchRecord]) -> None:
    """Says aloud what the dataset lacks: slides that gave nothing, a split without patches."""
    from wsisr.cli.console import remark

    for source in sources:
        if not any(record.slide == source.name for record in records):
            remark(f"warning: {source.path}: no patch has contrast; nothing was taken from this slide")
    for split in SPLITS:
        if not any(record.split == split for record in records):
            remark(f"warning: no patch is in the split {split}, which training needs; see --validation and --val-share")


def table(folder: Path, records: Iterable[PatchRecord]) -> Table:
    """Patches and slides by pixel pitch of the high resolution and by split."""
    from rich.table import Table
    from rich.text import Text

    found: dict[str, list[PatchRecord]] = {}
    for record in sorted(records, key=lambda record: record.mpp):
        found.setdefault(f"{record.mpp:.2g} um/px", []).append(record)
    everything = [record for group in found.values() for record in group]
    shown = Table(title=Text(str(folder)), title_justify="left")
    shown.add_column("high resolution")
    for split in SPLITS:
        shown.add_column(f"{split}: patches", justify="right")
        shown.add_column(f"{split}: slides", justify="right")
    for pitch, group in found.items():
        shown.add_row(pitch, *counts(group))
    shown.add_section()
    shown.add_row("all", *counts(everything))
    return shown


def counts(records: Sequence[PatchRecord]) -> list[str]:
    """Patches and slides of each split."""
    numbers = []
    for split in SPLITS:
        slides = [record.slide for record in records if record.split == split]
        numbers += [len(slides), len(set(slides))]
    return [str(number) for number in numbers]
