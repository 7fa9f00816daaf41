"""Options and output that the `build-dataset` commands share, and its commands `info` and `report`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsisr.cli.console import literal_text, print_json, print_line, print_message, stdout_console
from wsisr.cli.exit_codes import EXIT_PARTLY_FAILED
from wsisr.cli.options import UM_PER_PX, flag
from wsisr.cli.progress import print_first_line
from wsisr.cli.slide_words import SLIDES_HELP
from wsisr.errors import DatasetError
from wsisr.progress import format_count

if TYPE_CHECKING:
    from rich.table import Table

    from wsisr.cluster.place import ClusterPlace
    from wsisr.dataset.builder import DatasetBuilder
    from wsisr.dataset.recipe import Recipe
    from wsisr.dataset.records import PatchRecord
    from wsisr.dataset.slides_and_splits import DatasetSlide
from wsisr.progress import Progress

SPLITS = ("train", "val")


def require_existing(paths: Sequence[Path]) -> None:
    """Raise `SlideNotFoundError` if a path does not exist."""
    from wsisr.slides.missing import refuse_missing_slide

    for path in paths:
        refuse_missing_slide(path)


SlidesArgument = Annotated[
    list[Path],
    typer.Argument(metavar="SLIDE", help=SLIDES_HELP),
]
ValidationOption = Annotated[
    list[Path] | None,
    typer.Option(metavar="SLIDE", help="Slide or folder to hold out; may be repeated. By default cases are drawn."),
]
PatchPxOption = Annotated[int, typer.Option(metavar="PX", help="Side of a high-resolution patch.", min=64)]
CoarsestMppOption = Annotated[
    float, typer.Option(metavar=UM_PER_PX, help="Coarsest pixel size of such a patch.", min=0)
]
MostPatchesOption = Annotated[
    int,
    typer.Option(metavar="N", help="Most patches with contrast from a level; a few of glass come on top.", min=1),
]
ValShareOption = Annotated[
    float, typer.Option(metavar="P", help="Share of the cases drawn for validation.", min=0, max=1)
]
DatasetOutputOption = Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Dataset to write.")]
DatasetJobsOption = Annotated[int, typer.Option(metavar="N", help="Slides at a time; 0 is one for each core.", min=0)]
CasePatternOption = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX",
        help="Part of a file name that names the patient or specimen. By default, see docs/datasets.md.",
    ),
]
SplitByPlaceOption = Annotated[
    bool,
    flag("--split-by-place", "Hold out --val-share of each slide, where all are of one case. Its scores are too high."),
]
DatasetOverwriteOption = Annotated[bool, flag("--overwrite", "Replace a dataset, finished or not.")]


def announce_dataset(folder: Path, inputs: Sequence[Path], *, quiet: bool) -> None:
    """Print the first line of a command that builds a dataset, before its heavy imports."""
    print_first_line(f"the dataset is to be {folder}", *inputs, quiet=quiet)


def announce_cases(sources: Sequence[DatasetSlide], recipe: Recipe, *, quiet: bool) -> None:
    """Print which cases are in which split, and warn where two of them could be one patient's."""
    from wsisr.dataset.slides_and_splits import describe_cases, find_doubt

    if recipe.split_by_place or not sources:
        return
    print_message(describe_cases(sources, recipe), quiet=quiet)
    doubt = find_doubt(sources, recipe)
    if doubt:
        print_message(f"warning: {doubt}")


def check_cases(sources: Sequence[DatasetSlide], recipe: Recipe, advice: str = "--validation, ") -> None:
    """Before the work, warn of a dataset that cannot be trained on, because one split would have no case.

    Raises `DatasetError` for a split by place of several cases. The advice names further options that help.
    """
    cases = sorted({source.case for source in sources})
    if recipe.split_by_place:
        if len(cases) > 1:
            raise DatasetError(
                f"--split-by-place is for slides of one case, and these are of {len(cases)}; "
                "leave it out, and cases are split"
            )
        print_message(
            f"warning: {recipe.val_share:g} of each slide is held out by place: both splits show case {cases[0]}, so "
            "scores on it are too high, and say nothing of other patients"
        )
    elif recipe.val_share and len(cases) == 1:
        print_message(
            f"warning: all slides are of one case, {cases[0]}, and training needs another for validation: give slides "
            f"of further cases, {advice}--case-pattern if file names begin otherwise, or --split-by-place"
        )
    elif recipe.val_share and len({source.split for source in sources}) == 1:
        share = f"--val-share {recipe.find_val_share(cases):g}, which holds out one case"
        print_message(
            f"warning: of {len(cases)} cases {recipe.val_share:g} were drawn for validation, and all came to be in one "
            f"split, where training needs two: give {f'{advice}or ' if advice else ''}{share}"
        )


def build_and_show(builder: DatasetBuilder, cluster: ClusterPlace | None, *, quiet: bool) -> None:
    """Build the dataset, on a cluster if one is given, and show progress; a slide that cannot be used is an error line
    at once.

    After Ctrl-C finished slides are kept, and the program exits as an interrupted one.
    """
    from contextlib import closing

    from wsisr.cli.progress import format_rate, show_progress
    from wsisr.cli.shutdown import catch_stop_signals, stop_between_steps
    from wsisr.cli.streams import allow_lost_output

    allow_lost_output()
    with catch_stop_signals() as stop, use_cluster(builder, cluster, quiet=quiet), closing(iter(builder)) as steps:
        advice = "stopped; the same command goes on from there"
        stoppable = stop_between_steps(_print_failures(steps, builder), stop, advice)
        for _ in show_progress(stoppable, format_rate, quiet=quiet):
            pass


@contextmanager
def use_cluster(builder: DatasetBuilder, cluster: ClusterPlace | None, *, quiet: bool) -> Iterator[None]:
    """Context: the workers of a cluster build the parts; without one, nothing."""
    if cluster is None:
        yield
        return
    from functools import partial

    from wsisr.cli.cluster_batch import open_cluster
    from wsisr.cluster.dataset_jobs import run_dataset_jobs

    with open_cluster(cluster, allow_mixed=False, quiet=quiet) as session:
        builder.run_jobs = partial(run_dataset_jobs, session)
        yield


def print_dataset_summary(builder: DatasetBuilder, *, quiet: bool) -> None:
    """Print a table, and warnings for what the dataset lacks; exit with code 3 if a slide could not be used."""
    from wsisr.dataset.reader import PatchStore

    folder = builder.plan.folder
    records = PatchStore(folder).records
    for job in builder.plan.jobs:
        if job.name not in builder.failures and not any(record.shard == f"{job.name}.bin" for record in records):
            print_message(f"warning: {job.location}: no patch has contrast; nothing was taken from this slide")
    for split in SPLITS:
        if not any(record.split == split for record in records):
            print_message(
                f"warning: no patch is in the split {split}, which training needs; see --validation and --val-share"
            )
    for line in describe_look_alikes(records):
        print_message(f"warning: {line}")
    if not quiet:
        stdout_console.print(build_pairs_table(folder, records))
    if builder.failures:
        raise typer.Exit(EXIT_PARTLY_FAILED)


def dataset_info_command(
    folder: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder of a dataset.")],
    as_json: Annotated[bool, flag("--json", "Print JSON instead of a table.")] = False,
) -> None:
    """Show what is in a dataset: pairs by slide, magnification, scale, split, kind."""
    from wsisr.dataset.reader import PatchStore

    records = PatchStore(folder).records
    if as_json:
        print_json(dataset_facts(records), indent=2)
    else:
        stdout_console.print(build_pairs_table(folder, records), build_slides_table(records))
        for line in describe_look_alikes(records):
            print_line(line)


def dataset_report_command(
    folder: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder of a dataset.")],
) -> None:
    """Write report.html into a dataset: its patches, pairs and measures for the eye; an older one is replaced."""
    from wsisr.dataset.report import write_report

    print_line(str(write_report(folder)))


def dataset_facts(records: Sequence[PatchRecord]) -> dict[str, Any]:
    """Return what `--json` prints; keys are stable. A patch is one high-resolution field, however many pairs use it."""
    from wsisr.dataset.duplicates import find_near_duplicates
    from wsisr.dataset.statistics import count_patches, count_pixel_bytes

    values_by_field: dict[str, list[object]] = {
        "slide": [record.slide for record in records],
        "case": [record.case for record in records],
        "magnification": [record.magnification and f"{record.magnification}x" for record in records],
        "scale": [f"x{record.scale}" for record in records],
        "split": [record.split for record in records],
        "kind": [record.kind for record in records],
    }
    return {
        "pairs": len(records),
        "patches": count_patches(records),
        "bytes": count_pixel_bytes(records),
        "look_alikes": len(find_near_duplicates(records)),
        **{f"pairs_by_{name}": count_values(values) for name, values in values_by_field.items()},
    }


def describe_look_alikes(records: Sequence[PatchRecord]) -> Iterator[str]:
    """Yield a line for each pair of slides, one of each split, whose patches look alike."""
    from wsisr.dataset.duplicates import find_near_duplicates

    counts = Counter((pair.train.slide, pair.val.slide) for pair in find_near_duplicates(records))
    for (train, val), count in counts.items():
        yield (
            f"{count} pairs of patches of {train} (train) and {val} (val) look alike; "
            "give both slides one case with --cases, or leave one out"
        )


def count_values(values: Sequence[object]) -> dict[str, int]:
    """Count each value by its text, in alphabetical order; None counts as `other`."""
    counts = Counter("other" if value is None else str(value) for value in values)
    return dict(sorted(counts.items()))


def build_pairs_table(folder: Path, records: Sequence[PatchRecord]) -> Table:
    """Count pairs by kind, magnification of the high resolution and scale, and by split."""
    from wsisr.dataset.statistics import count_by_split, group_pairs

    table = _create_table(str(folder), ("kind", "high resolution", "scale"))
    for key, group in group_pairs(records).items():
        table.add_row(*key, *map(str, count_by_split(group)))
    table.add_section()
    table.add_row("all", "", "", *map(str, count_by_split(records)))
    return table


def build_slides_table(records: Sequence[PatchRecord]) -> Table:
    """Count pairs by slide and split."""
    from wsisr.dataset.statistics import count_by_split

    records_of: dict[str, list[PatchRecord]] = {}
    for record in records:
        records_of.setdefault(record.slide, []).append(record)
    table = _create_table("", ("slide", "case"))
    for name, group in records_of.items():
        table.add_row(name, group[0].case, *map(str, count_by_split(group)))
    return table


def _create_table(title: str, names: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(title=literal_text(title) if title else None, title_justify="left")
    for name in names:
        table.add_column(name, overflow="fold")
    for split in SPLITS:
        for noun in ("pairs", "patches", "slides"):
            table.add_column(f"{split}: {noun}", justify="right")
    return table


def _print_failures(steps: Iterator[Progress], builder: DatasetBuilder) -> Iterator[Progress]:
    """Yield the same steps; print each failed slide once. The failure of the only slide is the command's error."""
    printed = {job.name for job in builder.plan.jobs} if len(builder.plan.jobs) == 1 else set()
    for step in steps:
        for name in [name for name in builder.failures if name not in printed]:
            printed.add(name)
            print_message(f"error: {builder.failures[name]} ({format_count(len(builder.plan.jobs), 'slide')} in all)")
        yield step
