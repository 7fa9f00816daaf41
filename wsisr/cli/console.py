"""The two streams of the command line: results go to stdout, where they can be piped; messages go to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO, TypeVar

from rich.console import Console

T = TypeVar("T")

FILE_COLUMNS = 160
"""Width of tables in a file or a pipe, where nothing needs to be folded for a screen; `COLUMNS` overrides it."""


for _name in ("stdout", "stderr"):
    if getattr(sys, _name) is None:  # closed: no other file may get its descriptor, because libraries write there
        setattr(sys, _name, Path(os.devnull).open("w"))  # noqa: SIM115 - open until the program ends


def console_width(stream: TextIO) -> int | None:
    """Return the width to print with, in columns; None leaves it to the terminal or `COLUMNS`."""
    return None if stream.isatty() or "COLUMNS" in os.environ else FILE_COLUMNS


stdout_console = Console(width=console_width(sys.stdout))
"""Results: tables, panels and JSON."""

stderr_console = Console(stderr=True)
"""Messages: progress, warnings and errors."""


def print_message(message: str) -> None:
    """Print `wsisr: MESSAGE` on stderr as exactly one line, whatever its length and the characters of paths in it."""
    line = " ".join(message.splitlines())
    stderr_console.print(f"wsisr: {line}", soft_wrap=True, markup=False, highlight=False, emoji=False)


def relay_warnings(steps: Iterable[T], warnings: Sequence[str]) -> Iterator[T]:
    """Yield the same steps; print each warning once, also those that are added to the list meanwhile."""
    printed = 0
    for step in steps:
        printed += print_warnings(warnings[printed:])
        yield step
    print_warnings(warnings[printed:])


def print_warnings(warnings: Sequence[str]) -> int:
    """Print warnings, a line each; return their number."""
    for warning in warnings:
        print_message(f"warning: {warning}")
    return len(warnings)
