"""Reads TOML files into frozen dataclasses: the dataclass holds defaults, meaning and checks, the file only values.

Each value is checked against the annotation of its field. An unknown key is an error that lists the known ones.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, TypeAlias, TypeVar, get_args, get_type_hints

from wsisr.bounds import MAX_TOML_BYTES
from wsisr.errors import ConfigError, ConfigNotFoundError, describe_error

T = TypeVar("T")

FloatRange: TypeAlias = tuple[float, float]
"""Lowest and highest value, between which a number is drawn; in a file, one number stands for both."""

_WHOLE_LIMIT = 2**63
"""Whole numbers from here on are none that a computer counts with."""

IntRange: TypeAlias = tuple[int, int]
"""The same with whole numbers."""


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises `ConfigError` if it cannot be read or is not TOML."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TOML_BYTES + 1)
        if len(content) > MAX_TOML_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_TOML_BYTES // 1024} KiB; give a recipe in TOML")
        return tomllib.loads(content.decode())
    except OSError as error:
        error_type = ConfigNotFoundError if isinstance(error, FileNotFoundError) else ConfigError
        raise error_type(f"{path}: cannot be read ({error.strerror}); give a TOML file") from error
    except ValueError as error:  # TOML's own error, no text, or a number of thousands of digits
        raise ConfigError(f"{path}: not a TOML file ({describe_error(error)}); correct it") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: its lists or tables are nested too deeply; correct it") from error


def parse_table(cls: type[T], values: dict[str, Any], where: str, folder: Path) -> T:
    """Convert the values of a TOML table to a dataclass; relative paths start at the folder.

    Raises `ConfigError` with a message that begins with `where`, also if the dataclass raises one itself.
    """
    known = [item.name for item in fields(cls)]  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(f"{where}: {describe_unknown_key(unknown[0], known)}")
    hints = get_type_hints(cls)
    checked = {key: _parse_value(value, hints[key], f"{where}: {key}", folder) for key, value in values.items()}
    required = [item.name for item in fields(cls) if item.default is item.default_factory is MISSING]  # type: ignore[arg-type]
    missing = [name for name in required if name not in values]
    if missing:
        raise ConfigError(f"{where}: a required key is missing: {', '.join(map(repr, missing))}")
    try:
        return cls(**checked)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def describe_unknown_key(key: str, known: Collection[str]) -> str:
    """Return that a key is unknown, all known ones, and the most similar of them."""
    similar = get_close_matches(key, known, n=1)
    hint = f"; did you mean {similar[0]!r}?" if similar else ""
    return f"unknown key {shorten_value(key)}; known: {', '.join(known)}{hint}"


def _parse_value(value: Any, hint: Any, where: str, folder: Path) -> Any:
    """Convert a value to the type of its field, `hint`."""
    if isinstance(hint, UnionType):  # such as Path | None: TOML has no None
        hint = get_args(hint)[0]
    if isinstance(hint, type) and is_dataclass(hint):
        return _parse_nested_table(value, hint, where, folder)
    if hint in (FloatRange, IntRange):
        return _parse_range(value, get_args(hint)[0], where, folder)
    _refuse_wrong_type(value, hint, where)
    if hint is Path:
        return (folder / value).resolve()
    if hint in (tuple[float, ...], tuple[str, ...], tuple[Path, ...]):
        items = value if isinstance(value, list) else [value]  # one file name stands for a list of one
        return tuple(_parse_value(item, get_args(hint)[0], where, folder) for item in items)
    if hint == dict[str, float]:
        return {name: _parse_value(share, float, f"{where}: {name}", folder) for name, share in value.items()}
    return float(value) if hint is float else value  # 1 and 1.0 are the same configuration


def _refuse_wrong_type(value: Any, hint: Any, where: str) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _WHOLE_LIMIT
    if hint is bool and not isinstance(value, bool):
        raise ConfigError(f"{where} = {shorten_value(value)} is not true or false")
    if hint is int and not whole:
        raise ConfigError(f"{where} = {shorten_value(value)} is not a whole number")
    if hint is float and not whole and not (isinstance(value, float) and math.isfinite(value)):
        raise ConfigError(f"{where} = {shorten_value(value)} is not a number")
    if hint in (str, Path) and not isinstance(value, str):
        raise ConfigError(f"{where} = {shorten_value(value)} is not a text in quotes")
    if hint in (tuple[float, ...], tuple[str, ...]) and not isinstance(value, list):
        kind = "numbers" if hint == tuple[float, ...] else "texts in quotes"
        raise ConfigError(f"{where} = {shorten_value(value)} is not a list of {kind}")
    if hint == dict[str, float] and not isinstance(value, dict):
        raise ConfigError(f"{where} = {shorten_value(value)} is not a table of names and shares")


def shorten_value(value: Any) -> str:
    """Return a value as it may stand in a message: text in quotes, of bounded length."""
    return describe_error(ValueError(repr(value)))


def _parse_nested_table(value: Any, kind: type[T], where: str, folder: Path) -> T:
    """Convert a nested table; a value that is a dataclass already is returned unchanged."""
    if isinstance(value, kind):
        return value
    if not isinstance(value, dict):
        raise ConfigError(f"{where} = {shorten_value(value)} is not a table")
    return parse_table(kind, value, where, folder)


def _parse_range(value: Any, kind: type, where: str, folder: Path) -> tuple[Any, Any]:
    ends = value if isinstance(value, list) else [value, value]
    if len(ends) != 2:
        raise ConfigError(
            f"{where} = {shorten_value(value)} is not a range: give its least and its most, or one number"
        )
    least, most = (_parse_value(end, kind, where, folder) for end in ends)
    if least > most:
        raise ConfigError(f"{where} = {shorten_value(value)} is not a range: the least comes first")
    return kind(least), kind(most)
