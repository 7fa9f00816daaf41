"""Questions about a file that libraries answer: each is a column of a table, each library a row."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

import numpy as np

from tests.bench.result_tables import Row, table
from wsisr.imaging.pixels import Rgb

Reader = TypeVar("Reader")


def print_answers(
    questions: Mapping[str, Callable[[Reader], str]], readers: Mapping[str, Reader], others: Mapping[str, Reader]
) -> None:
    """Print the table in Markdown. `readers` are named by their distributions, of which those that are not installed
    are left out; `others` bring their version with their name."""
    named: dict[str, Reader] = {}
    for name, reader in readers.items():
        with suppress(PackageNotFoundError):
            named[f"{name} {version(name)}"] = reader
    named |= others
    rows: list[Row] = [
        {"library": label, **{asked: _answer(each, reader) for asked, each in questions.items()}}
        for label, reader in named.items()
    ]
    sys.stdout.write(table(rows))


def describe_colours(pixels: Rgb, truth: Rgb) -> str:
    """Say in which order a reader gives the colours, and how far they are from the right ones."""
    errors = [int(np.abs(order.astype(int) - truth).max()) for order in (pixels, pixels[..., ::-1])]
    return f"{'RGB' if errors[0] <= errors[1] else 'BGR'}, {min(errors)}"


def describe_value(pixels: Rgb) -> str:
    """Say which one value a part of a picture has."""
    values = pixels.reshape(-1)
    return str(int(values[0])) if values.size and values.min() == values.max() else "several values"


def _answer(question: Callable[[Reader], str], reader: Reader) -> str:
    """Return a cell of the table; a reader that refuses is one, not the end."""
    try:
        return question(reader)
    except Exception:  # noqa: BLE001 - that a reader fails, however it does, is what is measured
        return "refused"
