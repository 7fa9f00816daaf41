"""Checks of options, and the options that hold several numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import typer

from wsisr.errors import OptionError, check_choice
from wsisr.models.spec import DEVICE_KINDS, SCALES

N = TypeVar("N", int, float)


@contextmanager
def report_as_usage_error() -> Iterator[None]:
    """Context: turn an `OptionError` into a usage error, which ends the command with exit code 2."""
    try:
        yield
    except OptionError as error:
        raise typer.BadParameter(error.reason, param_hint=error.option) from None


def check_device_option(device: str) -> None:
    """Raise `typer.BadParameter`, a usage error, for an unknown kind of device."""
    with report_as_usage_error():
        check_choice("--device", device.partition(":")[0], DEVICE_KINDS)


def check_scale_option(scale: int) -> None:
    """Raise `typer.BadParameter`, a usage error, for an unknown scale."""
    if scale not in SCALES:
        raise typer.BadParameter("choose 2 or 4", param_hint="--scale")


def parse_numbers(text: str, kind: Callable[[str], N], option: str) -> tuple[N, ...]:
    """Parse `X,Y,WIDTH,HEIGHT`. Raises `typer.BadParameter`, a usage error."""
    try:
        left, top, width, height = map(kind, text.split(","))
    except ValueError:
        noun = "whole numbers" if kind is int else "numbers"
        raise typer.BadParameter(f"give four {noun}: X,Y,WIDTH,HEIGHT", param_hint=option) from None
    return left, top, width, height
