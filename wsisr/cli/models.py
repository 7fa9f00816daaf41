"""`wsisr models`: the list of shipped models."""

from __future__ import annotations


def models_command() -> None:
    """List the shipped models: scale, input pixel sizes, purpose."""
    from rich.table import Table

    from wsisr.cli.console import stdout_console
    from wsisr.models.catalog import describe_purpose, find_weights_folder, list_shipped_models

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column("scale", no_wrap=True)
    table.add_column("input,\num/px", no_wrap=True)
    table.add_column("for")
    table.add_column("MB", justify="right", no_wrap=True)
    known = list_shipped_models()
    for model in known:
        pitches = "{:g} to {:g}".format(*model.spec.input_mpp)
        size = f"{model.path.stat().st_size / 1e6:.1f}"
        table.add_row(model.name, f"x{model.spec.scale}", pitches, describe_purpose(model, known), size)
    table.add_row("bicubic, lanczos", "x2, x4", "any", "honest baselines: Pillow's filters", "")
    stdout_console.print(table)
    stdout_console.print(f"the card of each: {find_weights_folder()}/MODEL.md", highlight=False, soft_wrap=True)
