"""Wrong usage in wsisr's own words: one line that says which option or argument is wrong, and what to give."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from wsisr.cli.console import print_message, stderr_console
from wsisr.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from wsisr.errors import ConfigError, NotFoundError, OptionError

UsageError: Any = typer.BadParameter.__mro__[1]
"""Root of what Typer raises for wrong usage. Typer gives it no public name."""

VALUE_WORDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "int_parsing": lambda _: "a whole number",
    "int_from_float": lambda _: "a whole number",
    "float_parsing": lambda _: "a number",
    "greater_than_equal": lambda limits: f"at least {limits['ge']:g}",
    "less_than_equal": lambda limits: f"at most {limits['le']:g}",
}
"""What a value must be, by the kind of pydantic's error."""


class WsisrCommand(TyperCommand):
    """A command whose help shows choices and units of values, and no Python types."""

    def get_params(self, ctx: Any) -> Any:
        return hide_types(super().get_params(ctx))


class WsisrGroup(TyperGroup):
    """The commands; wrong usage of one is a line of wsisr's and exit code 2."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **settings: Any) -> Any:
        standalone = settings.get("standalone_mode", True)
        try:
            outcome = super().main(args, *others, **settings | {"standalone_mode": False})
        except (UsageError, OptionError) as error:
            if not standalone:
                raise
            words, command = self.find_command(sys.argv[1:] if args is None else args)
            error = restore_option_name(error, sys.argv[1:] if args is None else args, command)
            if message := describe_usage_error(error, command, f"{' '.join(['wsisr', *words])} --help"):
                print_message(f"error: {message}")
            raise SystemExit(EXIT_USAGE) from None
        if not standalone:
            return outcome
        raise SystemExit(outcome if isinstance(outcome, int) else 0)

    def get_params(self, ctx: Any) -> Any:
        return hide_types(super().get_params(ctx))

    def find_command(self, args: Sequence[str]) -> tuple[list[str], Any]:
        """Return the words that name a command at the beginning of the arguments, and the command."""
        words: list[str] = []
        command: Any = self
        for word in args:
            if word not in getattr(command, "commands", {}):
                break
            words.append(word)
            command = command.commands[word]
        return words, command

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            stderr_console.show_cursor(True)  # a progress bar hides it, and Ctrl-C may have kept it from coming back
            print_message("interrupted")
            raise typer.Exit(EXIT_INTERRUPTED) from None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name = args[0]
        if name.startswith("-") or self.get_command(ctx, name):
            return super().resolve_command(ctx, args)
        advice = suggest(name, self.commands) or f"{ctx.command_path} --help lists the commands"
        if ctx.parent is not None:  # a group of commands, such as build-dataset
            advice = suggest(name, self.commands) or f"give {' or '.join(self.list_commands(ctx))} before it"
        elif Path(name).exists():
            advice = f"to enlarge this file: wsisr upscale {name} --scale 2"
        raise OptionError(f"there is no command {name}; {advice}")


def restore_option_name(error: Any, args: Sequence[str], command: Any) -> Any:
    """Return the error, which names `-scale` as it was typed where the library saw an option `-s`."""
    if hasattr(error, "possibilities") and len(error.option_name) == 2 and error.option_name not in args:
        typed = next((word for word in args if word.startswith(error.option_name)), None)
        if typed and len(typed) > 3:
            name = f"-{typed.partition('=')[0]}"
            known = [option for param in command.params for option in param.opts]
            error.option_name, error.possibilities = typed, [name] if name in known else known
    return error


def find_error_code(error: BaseException) -> int:
    """Return the exit code of a command that an error ends."""
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    return EXIT_USAGE if isinstance(error, UsageError | NotFoundError | OptionError | ConfigError) else EXIT_FAILED


def hide_types(params: Sequence[Any]) -> Sequence[Any]:
    """Return the parameters, without `<bool>` behind a flag of Typer's own and `<path>` behind an argument."""
    for param in params:
        if param.param_type_name == "argument":
            param.display_type_rich = lambda **_: None
        elif getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    return params


def describe_usage_error(error: Any, command: Any, help_command: str) -> str:
    """Return one line for an error of Typer's, or for one of wsisr's options; empty after a help text."""
    if isinstance(error, OptionError):
        return str(error)
    if isinstance(error, typer.BadParameter):
        return describe_bad_value(error, help_command)
    if hasattr(error, "possibilities"):
        advice = suggest(error.option_name, error.possibilities or ()) or f"{help_command} lists all"
        return f"there is no option {error.option_name}; {advice}"
    if hasattr(error, "option_name"):
        return describe_option_usage(error.option_name, command, help_command)
    if extra := re.search(r"unexpected extra argument.*? \((.*)\)", error.message, re.DOTALL):
        return f"too many arguments: {extra[1]}; {help_command} shows how many there are"
    return str(error.format_message()).strip()


def describe_bad_value(error: Any, help_command: str) -> str:
    """Return what a value must be, or that it is missing. A hint is the option's name in an error of wsisr's."""
    if hasattr(error, "param_type"):
        return f"{describe_parameter(error.param)} is missing; {help_command} explains it"
    if error.param_hint or error.param is None:
        return f"{error.param_hint}: {error.message}" if error.param_hint else str(error.message)
    return f"{describe_parameter(error.param, short=True)}: {describe_value_error(error)}"


def describe_option_usage(name: str, command: Any, help_command: str) -> str:
    """Return that an option lacks a value, or was given one that it does not take."""
    option = next((param for param in command.params if name in param.opts), None)
    if option is None or option.is_flag:
        return f"{name} takes no value; {help_command} explains it"
    values = "a value" if option.nargs == 1 else f"{option.nargs} values"
    return f"{name} needs {values}: {describe_parameter(option)}; {help_command} explains it"


def describe_value_error(error: Any) -> str:
    """Return what is wrong with a value that Typer could not convert, and what to give."""
    details: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    if not details:
        return str(error.message)
    value, kind = details[0]["input"], details[0]["type"]
    if words := VALUE_WORDS.get(kind):
        return f"must be {words(details[0].get('ctx', {}))}, not {value}"
    if "|" in (error.param.metavar or ""):
        *others, last = error.param.metavar.split("|")
        return f"there is no {value}; choose {', '.join(others)} or {last}"
    return str(error.message)


def describe_parameter(param: Any, *, short: bool = False) -> str:
    """Return `--scale 2|4`, in short `--scale`, or for an argument `SLIDE`."""
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper())
    name = max(param.opts, key=len)
    return name if short or not param.metavar else f"{name} {param.metavar}"


def suggest(name: str, known: Iterable[str]) -> str:
    """Return the most similar names as a question, or nothing."""
    matches = get_close_matches(name, list(known), n=2)
    return f"did you mean {' or '.join(matches)}?" if matches else ""
