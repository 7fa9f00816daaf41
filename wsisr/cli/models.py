"""`wsisr models`: what ships with wsisr."""

from __future__ import annotations


def models() -> None:
    """List the shipped models: scale, pitches, what each is for."""
    from rich.table import Table

    from wsisr.cli.console import answers
    from wsisr.models.catalog import purpose, shipped

    table = Table("model", "scale", "trained for input of", "for", "file", "card", box=None, header_style="bold")
    known = shipped()
    for model in known:
        finest, coarsest = model.spec.input_mpp
        size = f"{model.path.stat().st_size / 1e6:.1f} MB"
        table.add_row(
            model.name,
            f"x{model.spec.scale}",
            f"{finest:g} to {coarsest:g} um/px",
            purpose(model, known),
            size,
            model.path.with_suffix(".md").name,
        )
    table.add_row("bicubic, lanczos", "x2, x4", "any", "honest baselines: Pillow's filters", "none", "none")
    answers.print(table)
