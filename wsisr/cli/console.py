"""The two streams of the command line: answers go to stdout, where they can be piped; all else goes to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO, TypeVar

from rich.console import Console

T = TypeVar("T")

EXIT_FAILED = 1
"""Exit code of what cannot be done, or is not as it should be."""

EXIT_INTERRUPTED = 130
"""128 + SIGINT: what a shell expects of a program that Ctrl-C has ended."""

FILE_COLUMNS = 160
"""Width of what goes to a file or a pipe, where nothing needs to be folded for a screen; `COLUMNS` says otherwise."""


for _name in ("stdout", "stderr"):
    if getattr(sys, _name) is None:  # closed: nothing else may get its number, for libraries write there
        setattr(sys, _name, Path(os.devnull).open("w"))  # noqa: SIM115 - for as long as the program runs


def console_width(stream: TextIO) -> int | None:
    """Columns of what is printed there; None for those of a terminal, or of `COLUMNS`."""
    return None if stream.isatty() or "COLUMNS" in os.environ else FILE_COLUMNS


stdout_console = Console(width=console_width(sys.stdout))
"""Tables, panels and JSON that were asked for."""

stderr_console = Console(stderr=True)
"""Progress, warnings, errors."""


def print_message(message: str) -> None:
    """Print `wsisr: MESSAGE` on stderr as exactly one line, however long it is and whatever a path in it holds."""
    line = " ".join(message.splitlines())
    stderr_console.print(f"wsisr: {line}", soft_wrap=True, markup=False, highlight=False, emoji=False)


def relay_warnings(steps: Iterable[T], warnings: Sequence[str]) -> Iterator[T]:
    """The same steps; what `said` holds, and what is added to it meanwhile, is printed as warnings, each once."""
    heard = 0
    for step in steps:
        heard += print_warnings(warnings[heard:])
        yield step
    print_warnings(warnings[heard:])


def print_warnings(texts: Sequence[str]) -> int:
    """Print each as a warning; how many there were."""
    for text in texts:
        print_message(f"warning: {text}")
    return len(texts)
