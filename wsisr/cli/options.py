"""Options that several commands share, and the panels that group the options of `wsisr upscale`.

A help text is a sentence; it names the default where Typer does not show it. A metavar shows the choices or the unit of
a value. Typer prints options without a panel first: these are the ones that most people need.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import typer

INPUT = "Input"
REGION_AND_SCALE = "Region and scale"
MODEL = "Model"
OUTPUT = "Output"
TISSUE = "Tissue"
BATCH_AND_MACHINES = "Batch and machines"
RUN = "Run"

UM_PER_PX = "UM/PX"
"""Metavar of a pixel size."""

BOX = "X,Y,W,H"
"""Metavar of a box: left, top, width, height."""


def slide_argument(help_text: str, **settings: Any) -> Any:
    """An argument for paths that are opened one by one: a path that cannot be read is an error of that slide only."""
    return typer.Argument(help=help_text, readable=False, **settings)


def flag(name: str, help_text: str, panel: str | None = None) -> Any:
    """An option without a value. Typer shows `<bool>` behind it unless its metavar is empty."""
    return typer.Option(name, help=help_text, metavar="", rich_help_panel=panel)


def choice_option(choices: str, **settings: Any) -> Any:
    """An option with a few values, `keep|srgb`, which help shows and the shell completes; capitals are placeholders."""
    words = [word for word in choices.split("|") if not word.startswith(("FILE", "N"))]

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return typer.Option(metavar=choices, autocompletion=complete, **settings)


def model_option(help_text: str) -> Any:
    """An option for a model, whose names the shell completes."""
    return typer.Option(metavar="NAME|FILE", autocompletion=complete_model, help=help_text)


def complete_model(incomplete: str) -> list[str]:
    """Return the names of models that begin so."""
    from wsisr.models.catalog import list_model_names

    return [name for name in list_model_names() if name.startswith(incomplete)]


SeriesOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        rich_help_panel=INPUT,
        help="Read this image of a file that holds several; `wsisr info` lists them. By default the largest.",
    ),
]

MppOption: TypeAlias = Annotated[
    float | None, typer.Option(metavar=UM_PER_PX, help="Replace the slide's own pixel size.")
]

LevelOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        rich_help_panel=REGION_AND_SCALE,
        help="Start from this level of the slide. By default 0, the finest.",
    ),
]

SourceMppOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar=UM_PER_PX,
        rich_help_panel=REGION_AND_SCALE,
        help="Start from this pixel size; a finer level is shrunk to it. By default the pixel size of the level.",
    ),
]

DeviceOption: TypeAlias = Annotated[
    str,
    choice_option(
        "auto|cpu|cuda",
        show_default=False,
        help="auto is a GPU, else the CPU; cuda:1 and tensorrt (for ONNX) work, too.",
    ),
]

TrainDeviceOption: TypeAlias = Annotated[
    str,
    choice_option(
        "auto|cpu|cuda", show_default=False, help="auto is a GPU, else the CPU; cuda:1 is one of several GPUs."
    ),
]

PerceptionOption: TypeAlias = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        metavar="P",
        rich_help_panel=MODEL,
        help="0 for least error, up to 1 for crisp but less true: blends in the weights of the GAN variant.",
    ),
]

ConsistencyOption: TypeAlias = Annotated[
    bool,
    flag(
        "--consistency",
        "Correct the result until shrinking it gives the input again, with the input's noise and JPEG artefacts.",
        MODEL,
    ),
]

NoGuardOption: TypeAlias = Annotated[
    bool,
    flag(
        "--no-guard",
        "Show the network's pixels even where they contradict the slide; without it, bicubic is shown there.",
        MODEL,
    ),
]

QuietOption: TypeAlias = Annotated[
    bool, typer.Option("--quiet", "-q", metavar="", help="Print only warnings and errors.")
]

AllowDerivedOption: TypeAlias = Annotated[
    bool, flag("--allow-derived", "Accept slides that wsisr wrote; without it, such slides are refused.")
]

JsonLinesOption: TypeAlias = Annotated[
    bool, flag("--json", "Print JSON instead of a table: one document for each path, a line each.")
]

SharedClusterOption: TypeAlias = Annotated[
    str | None,
    choice_option(
        "local|local:N|tcp://HOST:PORT|FILE.yaml",
        help="Have slides done by workers of Dask: on this machine, of a scheduler, or by jobs as a file of "
        "dask-jobqueue describes them.",
    ),
]
ClusterWorkersOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="N|MIN:MAX",
        help="How many workers --cluster FILE.yaml starts, or between which numbers it keeps them.",
    ),
]
