"""Train several recipes at once: `python -m wsisr.training RECIPE... -o OUT --minutes 7`.

For a machine that is lent for minutes. It needs torch, numpy, Pillow, safetensors, lightning-fabric and msgspec, and no
installation: run it in the checkout. `OUT/RECIPE` is what `wsisr train RECIPE.toml -o OUT/RECIPE` makes, and either
command resumes what the other began.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from wsisr.errors import WsisrError
from wsisr.models.backends.device import select_device
from wsisr.training.side_by_side import train_side_by_side
from wsisr.training.stages import read_recipe

REPORT_EVERY_S = 15


def run_command() -> None:
    """Read the arguments, train, and end with one line where that is impossible."""
    parser = argparse.ArgumentParser(
        prog="python -m wsisr.training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", type=Path, nargs="+", metavar="RECIPE", help="TOML files of different names")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after that time; by default never")
    arguments = parser.parse_args()
    try:
        train_until(arguments, time.monotonic() + 60 * arguments.minutes)
    except WsisrError as error:
        sys.exit(f"wsisr: {error}")


def train_until(arguments: argparse.Namespace, end: float) -> None:
    """Train until `end`, in seconds of the monotonic clock, and print now and then how far each recipe is."""
    recipes = {path.stem: read_recipe(path) for path in arguments.recipes}
    lines: dict[str, str] = {}
    next_report = time.monotonic()
    with closing(train_side_by_side(recipes, arguments.output, select_device(arguments.device))) as steps:
        for name, run, report in steps:
            if name not in lines:
                print_lines(run.warnings)
            lines[name] = f"{run.folder}: step {report.step} of {report.steps}, loss {report.loss:.5f}"
            if time.monotonic() >= next_report:
                next_report = time.monotonic() + REPORT_EVERY_S
                print_lines(lines.values())
            if time.monotonic() >= end:
                break
    print_lines(lines.values())


def print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - this module is a command


if __name__ == "__main__":
    run_command()
