"""`wsisr export`: a model as one ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsisr.cli.options import flag

if TYPE_CHECKING:
    from wsisr.models.onnx_export import Parity


def export_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Shipped model or weights file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.onnx", help="File to write.")],
    fp16: Annotated[bool, flag("--fp16", "Compute in half precision, except for the bicubic base.")] = False,
    json: Annotated[bool, flag("--json", "Print the comparison as JSON.")] = False,
    overwrite: Annotated[bool, flag("--overwrite", "Replace a file that exists.")] = False,
) -> None:
    """Write a model as ONNX, and compare it with PyTorch."""
    from dataclasses import asdict

    from wsisr.cli.console import print_json, print_message
    from wsisr.cli.streams import allow_lost_output
    from wsisr.errors import ModelError
    from wsisr.files import check_output, check_suffix
    from wsisr.models.catalog import find_model

    if not json:
        allow_lost_output()
    check_suffix(output, (".onnx",))
    check_output(output, overwrite=overwrite)
    weights = find_model(model)
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401

        from wsisr.models.onnx_export import export_onnx as exported
    except ModuleNotFoundError as error:
        raise ModelError(f"{error.name} is missing; export needs pip install 'wsisr[cpu,export]'") from error
    rows = exported(weights, output, half=fp16, overwrite=overwrite)
    if json:
        print_json([asdict(row) for row in rows], indent=2)
    else:
        print_parity(rows)
    print_message(f"{output}: written")


def print_parity(rows: list[Parity]) -> None:
    """Print how far ONNX Runtime differs from PyTorch, a line for each image size."""
    from rich.table import Table

    from wsisr.cli.console import stdout_console

    table = Table("images", "size", "largest difference", "mean", box=None, header_style="bold")
    for row in rows:
        numbers = f"{row.largest:.2g} grey levels", f"{row.mean:.2g}"
        table.add_row(str(row.count), f"{row.width} x {row.height} px", *numbers)
    stdout_console.print(table)
