"""Options that several commands share. Ranges have short metavars, so that the help text fits 80 columns."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import typer


def slide_argument(help_text: str, **settings: Any) -> Any:
    """An argument for paths that are opened one by one: a path that cannot be read is an error of that slide only."""
    return typer.Argument(help=help_text, readable=False, **settings)


SeriesOption: TypeAlias = Annotated[
    int | None,
    typer.Option(help="Number of the image, where a file holds several; see wsisr info.", min=0, metavar="<int>"),
]

DeviceOption: TypeAlias = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:NUMBER.")]

PerceptionOption: TypeAlias = Annotated[
    float,
    typer.Option(help="0 for least error, up to 1 for crisp by the model's twin.", min=0, max=1, metavar="<float>"),
]

ConsistencyOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--consistency", help="Correct the result until its area mean is the input, noise and compression included."
    ),
]

LevelOption: TypeAlias = Annotated[
    int | None, typer.Option(help="Level to enlarge; 0, the finest, by default.", min=0, metavar="<int>")
]

SourceMppOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="Pixel pitch to enlarge from, in um/px: a finer level is shrunk to it.", min=0, metavar="<float>"
    ),
]
