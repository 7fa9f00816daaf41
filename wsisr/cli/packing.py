"""`wsisr build-dataset pack`: a part of a dataset, within a limit of bytes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsisr.cli.console import stdout_console
from wsisr.cli.datasets import DatasetOutputOption, build_pairs_table
from wsisr.cli.options import QuietOption, choice_option, flag

if TYPE_CHECKING:
    from wsisr.progress import Progress


class PackCodec(StrEnum):
    """Names of the codecs of `wsisr.dataset.codecs`."""

    jpeg = "jpeg"
    webp = "webp"
    png = "png"
    raw = "raw"


def pack_command(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder of a dataset.")],
    output: DatasetOutputOption,
    limit_mb: Annotated[float, typer.Option(metavar="MB", help="Most that all files take together.", min=0)] = 45.0,
    codec: Annotated[
        PackCodec,
        choice_option(
            "jpeg|webp|png|raw",
            help="jpeg, of quality 95, fits the most patches; webp, png and raw are lossless.",
        ),
    ] = PackCodec.jpeg,
    overwrite: Annotated[bool, flag("--overwrite", "Replace a dataset.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Pack a representative part of a dataset, for machines that have little more than NumPy and Pillow."""
    from contextlib import closing

    from wsisr.cli.progress import show_progress
    from wsisr.cli.shutdown import catch_stop_signals, stop_between_steps
    from wsisr.cli.streams import allow_lost_output
    from wsisr.dataset.packing import DatasetPacking
    from wsisr.dataset.reader import PatchStore

    allow_lost_output()
    packing = DatasetPacking(dataset, output, limit_mb, codec.value, overwrite)
    with catch_stop_signals() as stop, closing(iter(packing)) as steps:
        for _ in show_progress(stop_between_steps(steps, stop), _format_megabytes, quiet=quiet):
            pass
    if not quiet:
        stdout_console.print(build_pairs_table(output, PatchStore(output).records))


def _format_megabytes(progress: Progress, _seconds: float) -> str:
    return f"{progress.done / 1e6:.1f}/{progress.total / 1e6:.1f} MB"
