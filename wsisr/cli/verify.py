"""`wsisr verify`: checks of pyramids that wsisr wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsisr.cli.options import JsonLinesOption, slide_argument


def verify_command(
    files: Annotated[list[Path], slide_argument("Pyramids to check.", metavar="FILE")],
    as_json: JsonLinesOption = False,
) -> None:
    """Check written pyramids with two readers; exit code 1 if wrong."""
    import json
    from dataclasses import asdict

    from wsisr.cli.batch import check_each_file
    from wsisr.writing.verification import verify_pyramid

    def print_findings(file: Path) -> bool:
        findings = list(verify_pyramid(file))
        if as_json:
            typer.echo(json.dumps({"path": str(file), "findings": [asdict(finding) for finding in findings]}))
        else:
            typer.echo(f"{file}:")
            for finding in findings:
                typer.echo(f"  {'ok' if finding.good else 'WRONG'}  {finding.check}: {finding.words}")
        return all(finding.good for finding in findings)

    check_each_file(files, print_findings)
