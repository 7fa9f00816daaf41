"""`wsisr models`: the list of shipped models, as a table for people or as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from wsisr.cli.options import flag

if TYPE_CHECKING:
    from rich.table import Table

    from wsisr.models.catalog import Model


def models_command(as_json: Annotated[bool, flag("--json", "Print JSON instead of a table.")] = False) -> None:
    """List the shipped models: scale, input pixel sizes, purpose."""
    from wsisr.cli.console import print_json, print_line, stdout_console
    from wsisr.models.catalog import find_weights_folder, list_shipped_models

    models = list_shipped_models()
    if as_json:
        print_json(model_facts(models), indent=2)
    else:
        stdout_console.print(_build_table(models))
        print_line(f"the card of each: {find_weights_folder()}/NAME.md")


def model_facts(models: Sequence[Model]) -> dict[str, Any]:
    """Return what `--json` prints. Keys are stable, pixel sizes are in um/px."""
    from wsisr.models.catalog import FILTER_MODELS, describe_purpose
    from wsisr.models.spec import SCALES

    return {
        "models": [
            {
                "name": model.name,
                "scale": model.spec.scale,
                "input_mpp": list(model.spec.input_mpp),
                "magnifications": list(model.spec.magnifications),
                "purpose": describe_purpose(model, models),
                "opt_in": model.is_opt_in,
                "family": model.spec.family,
                "bytes": model.path.stat().st_size,
                "path": str(model.path),
            }
            for model in models
        ],
        "filters": [{"name": name, "scales": list(SCALES)} for name in FILTER_MODELS],
    }


def _build_table(models: Sequence[Model]) -> Table:
    from rich.table import Table

    from wsisr.models.catalog import describe_purpose

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column("scale", no_wrap=True)
    table.add_column("input,\num/px", no_wrap=True)
    table.add_column("for")
    table.add_column("MB", justify="right", no_wrap=True)
    for model in models:
        pixel_sizes = "{:g} to {:g}".format(*model.spec.input_mpp)
        size = f"{model.path.stat().st_size / 1e6:.1f}"
        table.add_row(model.name, f"x{model.spec.scale}", pixel_sizes, describe_purpose(model, models), size)
    table.add_row("bicubic, lanczos", "x2, x4", "any", "honest baselines: Pillow's filters", "")
    return table
