"""The two streams of the command line: results go to stdout, where they can be piped; messages go to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any, TextIO, TypeVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from wsisr.cli.control_characters import escape_controls
from wsisr.remote.path import hide_secrets

T = TypeVar("T")

FILE_COLUMNS = 160
"""Width of tables in a file or a pipe, where nothing needs to be folded for a screen; `COLUMNS` overrides it."""


def console_width(stream: TextIO) -> int | None:
    """Return the width to print with, in columns; None leaves it to the terminal or `COLUMNS`."""
    return None if (stream is not None and stream.isatty()) or "COLUMNS" in os.environ else FILE_COLUMNS


class EscapingConsole(Console):
    """A console that takes text word for word, shows control characters in it, and outlives a broken pipe."""

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False)

    @property
    def file(self) -> IO[str]:
        """The stream to write to, without escaping; rich itself unwraps only the stream that it puts above bars."""
        file = self._file or (sys.stderr if self.stderr else sys.stdout)
        while proxied := getattr(file, "rich_proxied_file", None):
            file = proxied
        return file

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(escape_controls(segment.text, keep_lines=True), segment.style)

    def on_broken_pipe(self) -> None:
        """Go on. Rich would exit, and silence stdout where the reader of stderr has left."""


stdout_console = EscapingConsole(width=console_width(sys.stdout))
"""Results: tables, panels and JSON."""

stderr_console = EscapingConsole(stderr=True)
"""Messages: progress, warnings and errors."""


def literal_text(value: str, style: str = "", **settings: Any) -> Text:
    """Return a text for a cell or a title of a table: one line, word for word, control characters in a visible form."""
    return Text(escape_controls(value), style=style, **settings)


log_writers: list[Callable[[str], None]] = []
"""What gets the text of every message besides the terminal: the log file of a run."""


def print_message(message: str, *, quiet: bool = False) -> None:
    """Print `wsisr: MESSAGE` on stderr as exactly one line, whatever its length and the characters of paths in it.

    URLs in it lose their passwords: a word of the command line may be anywhere in a message. If quiet, it goes only to
    the log.
    """
    line = f"wsisr: {hide_secrets(escape_controls(message))}"
    write_log(line)
    if not quiet:
        stderr_console.print(line, soft_wrap=True, highlight=False)


def print_traceback(text: str) -> None:
    """Print the traceback of a bug on stderr, without the passwords of URLs."""
    text = hide_secrets(text)
    write_log(text)
    stderr_console.print(text, soft_wrap=True, highlight=False)


def write_log(text: str) -> None:
    """Write lines to the log of the run, if there is one."""
    for write_lines in log_writers:
        write_lines(text)


def print_line(text: str) -> None:
    """Print exactly one line of a result on stdout."""
    sys.stdout.write(f"{escape_controls(text)}\n")
    sys.stdout.flush()


def print_json(document: Any, *, indent: int | None = None) -> None:
    """Print a JSON document on stdout, on one line unless there is an indent; control characters are escaped."""
    text = json.dumps(document, indent=indent)
    sys.stdout.write(escape_controls(text, keep_lines=True) + "\n")
    sys.stdout.flush()


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
