"""The command line `wsisr`: its commands, and the one place where an error becomes a line that a person reads."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Annotated

import typer

from wsisr.cli.build_dataset import build_dataset_app
from wsisr.cli.console import EXIT_FAILED, print_message, stderr_console
from wsisr.cli.evaluate import evaluate_command
from wsisr.cli.export import export_command
from wsisr.cli.info import info_command
from wsisr.cli.models import models_command
from wsisr.cli.preview import preview_command
from wsisr.cli.train import train_command
from wsisr.cli.upscale import upscale_command
from wsisr.cli.verify import verify_command
from wsisr.errors import WsisrError
from wsisr.version import __version__

COMMANDS_BY_PANEL: dict[str, tuple[Callable[..., None], ...]] = {
    "Slides": (upscale_command, verify_command, preview_command, info_command, models_command),
    "Networks": (train_command, evaluate_command, export_command),
}
"""Panel of the help text to its commands. A function's name is its command's, its docstring's first line the help."""

# A bug keeps Python's own traceback: Typer's would print the values of local variables, paths of patients among them.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

for _panel, _commands in COMMANDS_BY_PANEL.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)
app.add_typer(build_dataset_app, rich_help_panel="Networks")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wsisr {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Super-resolution for whole-slide images of digital pathology."""


@contextmanager
def print_errors_as_lines() -> Iterator[None]:
    """Turn a `WsisrError` into one line on stderr and exit code 1, say so on Ctrl-C, and let a bug pass through."""
    try:
        yield
    except WsisrError as error:
        print_message(f"error: {error}")
        raise SystemExit(EXIT_FAILED) from None
    except SystemExit as ended:
        # Typer turns a Ctrl-C that no command has heard into this exit code, without a word.
        if isinstance(getattr(ended.__context__, "__cause__", None), KeyboardInterrupt):
            stderr_console.show_cursor(True)  # in case it fell into the end of a progress bar, which had hidden it
            print_message("interrupted")
        raise


def run_command_line() -> None:
    """Run the command line and leave with its exit code: 0 done, 1 refused, 2 wrong usage, 3 in part, 130 stopped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a slide may have a name that is no text
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster's way of saying Ctrl-C
    with print_errors_as_lines():
        app(prog_name="wsisr")
