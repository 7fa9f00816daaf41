"""`wsisr verify`: checks of pyramids that wsisr wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from wsisr.cli.options import JsonLinesOption, flag, slide_argument


def verify_command(
    files: Annotated[list[Path], slide_argument("Pyramids to check.", metavar="FILE")],
    every_tile: Annotated[
        bool, flag("--every-tile", "Compare every tile, not nine a level; as long as two viewers take to read it all.")
    ] = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Check written pyramids with two readers; exit code 1 if wrong."""
    from dataclasses import asdict

    from wsisr.cli.batch import check_each_file
    from wsisr.cli.console import print_json, print_line
    from wsisr.errors import SlideError
    from wsisr.remote.path import is_url, make_path
    from wsisr.writing.verification import verify_pyramid

    def print_findings(file: Path) -> bool:
        if is_url(file):
            raise SlideError(f"{make_path(file)}: verify reads files of this machine; copy it here first")
        findings = list(verify_pyramid(file, every_tile=every_tile))
        if as_json:
            print_json({"path": str(file), "findings": [asdict(finding) for finding in findings]})
        else:
            print_line(f"{file}:")
            for finding in findings:
                print_line(f"  {'ok' if finding.good else 'WRONG'}  {finding.check}: {finding.words}")
        return all(finding.good for finding in findings)

    check_each_file(files, print_findings)
