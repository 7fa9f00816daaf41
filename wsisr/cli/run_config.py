"""Configuration of a run: the options of `wsisr upscale` by their names, in a TOML file.

Keys are the names of the options without dashes, `slides` holds the words that stand for slides. A value means what it
means on the command line, so that relative paths start at the current folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from wsisr.config import read_toml
from wsisr.errors import ConfigError
from wsisr.remote.path import hide_secrets

SLIDES_KEY = "slides"

_NOT_STORED = ("_config", "print_config", "context")
"""Parameters of the command that a configuration does not hold."""


def apply_config(context: typer.Context, path: Path | None) -> Path | None:
    """Take the values of a TOML file for the options that the command line does not give. Raises `ConfigError`."""
    if path is not None:
        values = read_toml(path)
        context.default_map = {
            **(context.default_map or {}),
            **{
                _find_parameter(context, key, path).name: _parse_value(value, key, path)
                for key, value in values.items()
            },
        }
    return path


def _find_parameter(context: typer.Context, key: str, path: Path) -> Any:
    known = {_name_key(param): param for param in list_parameters(context)}
    if key not in known:
        raise ConfigError(f"{path}: unknown key {key!r}; known: {', '.join(known)}")
    return known[key]


def _parse_value(value: Any, key: str, path: Path) -> Any:
    """Return a value as the command line would have it: numbers of a box become `X,Y,W,H`."""
    if key == SLIDES_KEY:
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ConfigError(f"{path}: {key} = {value!r} is not a list of texts in quotes")
        return words
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    if isinstance(value, dict):
        raise ConfigError(f"{path}: [{key}] is a table; options have no tables")
    return value if isinstance(value, bool) else str(value)


def list_parameters(context: typer.Context) -> list[Any]:
    """Return the parameters that a configuration may hold."""
    return [param for param in context.command.params if param.name not in (*_NOT_STORED, "help")]


def _name_key(param: Any) -> str:
    """Return the key of a parameter: `target-mpp` for `--target-mpp`, `slides` for the slides."""
    if param.param_type_name == "argument":
        return SLIDES_KEY
    return str(max(param.opts, key=len)).removeprefix("--")


def describe_configuration(context: typer.Context) -> dict[str, Any]:
    """Return the values that repeat the run: all that differ from the defaults, by their keys."""
    stored = ((_name_key(param), context.params.get(param.name), param) for param in list_parameters(context))
    return {key: _to_plain(value) for key, value, param in stored if _differs(value, param.default)}


def _differs(value: Any, default: Any) -> bool:
    return value is not None and value != default and not (isinstance(value, list | tuple) and not value)


def _to_plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in value]
    return hide_secrets(str(value)) if isinstance(value, Path | str) else value


def format_configuration(context: typer.Context) -> Iterator[str]:
    """Yield the lines of a TOML file with every option: a value, or a comment where there is none."""
    for param in list_parameters(context):
        value = _to_plain(context.params.get(param.name))
        if value is None or value == []:
            yield f"# {_name_key(param)} = {param.metavar or ''}".rstrip()
        else:
            yield f"{_name_key(param)} = {format_toml_value(value)}"


def format_toml_value(value: bool | float | str | list[Any] | Mapping[str, Any]) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, list):
        return f"[{', '.join(map(format_toml_value, value))}]"
    if isinstance(value, str):
        # TOML's strings are JSON's, besides the one control character that JSON leaves alone.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
