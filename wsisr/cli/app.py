"""The command line `wsisr`: its commands, and the one place where an error becomes a line on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from wsisr.cli.annotations import annotations_command
from wsisr.cli.build_dataset import build_dataset_app
from wsisr.cli.console import print_line, print_message
from wsisr.cli.doctor import doctor_command
from wsisr.cli.evaluate import evaluate_command
from wsisr.cli.exit_codes import EXIT_CODES
from wsisr.cli.export import export_command
from wsisr.cli.finetune import finetune_command
from wsisr.cli.info import info_command
from wsisr.cli.models import models_command
from wsisr.cli.preview import preview_command
from wsisr.cli.streams import guard_streams, release_streams
from wsisr.cli.train import train_command
from wsisr.cli.upscale import upscale_command
from wsisr.cli.usage import WsisrCommand, WsisrGroup, find_error_code
from wsisr.cli.verify import verify_command
from wsisr.cli.view import view_command
from wsisr.errors import WsisrError
from wsisr.version import __version__

COMMANDS_BY_PANEL: dict[str, dict[str, Callable[..., None]]] = {
    "Slides": {
        "upscale": upscale_command,
        "verify": verify_command,
        "preview": preview_command,
        "view": view_command,
        "annotations": annotations_command,
        "info": info_command,
        "models": models_command,
        "doctor": doctor_command,
    },
    "Networks": {
        "finetune": finetune_command,
        "train": train_command,
        "evaluate": evaluate_command,
        "export": export_command,
    },
}
"""The commands of each panel of the help text. The first line of a function's docstring is its command's help."""

# A bug keeps Python's own traceback: Typer's would print the values of local variables, paths of patients among them.
app = typer.Typer(
    cls=WsisrGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog=f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}.",
)

for _panel, _commands in COMMANDS_BY_PANEL.items():
    for _name, _function in _commands.items():
        app.command(_name, cls=WsisrCommand, rich_help_panel=_panel)(_function)
app.add_typer(build_dataset_app, rich_help_panel="Networks")


def _print_version(wanted: bool) -> None:
    if wanted:
        print_line(f"wsisr {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Super-resolution for whole-slide images of digital pathology."""


@contextmanager
def print_errors_as_lines() -> Iterator[None]:
    """Turn a `WsisrError` inside into a line on stderr, one more for each note of it, and an exit code.

    A bug keeps its traceback.
    """
    try:
        yield
    except WsisrError as error:
        print_message(f"error: {error}")
        for note in getattr(error, "__notes__", ()):
            print_message(note)
        raise SystemExit(find_error_code(error)) from None


def run_command_line() -> None:
    """Run the command line and exit with one of `EXIT_CODES`."""
    guard_streams()
    try:
        with print_errors_as_lines():
            app(prog_name="wsisr")
    finally:
        release_streams()
