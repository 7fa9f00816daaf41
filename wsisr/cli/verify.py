"""`wsisr verify`: whether a pyramid that wsisr wrote is whole, and as it was meant to be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def verify(
    file: Annotated[Path, typer.Argument(help="Pyramid TIFF to check.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Check a written pyramid with two readers; exit code 1 if wrong."""
    import json
    from dataclasses import asdict

    from wsisr.verification import verify as checked

    findings = list(checked(file))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            typer.echo(f"{'ok' if finding.good else 'WRONG'}  {finding.check}: {finding.words}")
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)
