"""The TOML file of a training run becomes a `TrainConfig`. An unknown key is an error that lists the known ones."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from wsisr.config import describe_unknown_key, parse_table, read_toml
from wsisr.dataset.degradation import choose_degradation
from wsisr.errors import ConfigError, ModelNotFoundError
from wsisr.models.catalog import locate_weights
from wsisr.training.config import (
    DATA_PRESETS,
    AdversaryConfig,
    DataConfig,
    LossConfig,
    NetworkConfig,
    ResultConfig,
    ScheduleConfig,
    TrainConfig,
)
from wsisr.training.config_faults import find_config_faults

WEIGHTS_KEYS = (("network", "warm_start"), ("loss", "features"))
"""Tables and keys that take weights files, and shipped models by name."""

CONFIG_TABLES: dict[str, type] = {
    "network": NetworkConfig,
    "data": DataConfig,
    "schedule": ScheduleConfig,
    "loss": LossConfig,
    "adversary": AdversaryConfig,
    "result": ResultConfig,
}
OPTIONAL_TABLES = ("loss", "adversary", "result")


def read_train_config(path: Path) -> TrainConfig:
    """Read a recipe of one stage: a TOML file with the tables `CONFIG_TABLES`; see also `stages.read_recipe`.

    Relative paths start at the file's folder.

    Raises `ConfigError` if the file cannot be read or a key or value in it is invalid.
    """
    return parse_train_config(read_toml(path), str(path), path.parent)


def parse_train_config(values: dict[str, Any], where: str, folder: Path) -> TrainConfig:
    """Parse the tables of one stage. Raises `ConfigError` that begins with `where`."""
    known = [item.name for item in fields(TrainConfig)]
    for key in sorted(set(values) - set(known)):  # before a table counts as missing whose name is mistyped
        raise ConfigError(f"{where}: {describe_unknown_key(key, known)}")
    data = values.get("data")
    if isinstance(data, dict):
        values = values | {"data": resolve_data_names(data, f"{where} [data]", folder)}
    values = values | _locate_named_weights(values, where, folder)
    tables: dict[str, Any] = {}
    for name, kind in CONFIG_TABLES.items():
        table = values.get(name, {} if name in OPTIONAL_TABLES else None)
        if not isinstance(table, dict):
            raise ConfigError(f"{where}: table [{name}] is missing")
        tables[name] = parse_table(kind, table, f"{where} [{name}]", folder)
    config = parse_table(TrainConfig, values | tables, where, folder)
    for message in find_config_faults(config):
        raise ConfigError(f"{where}: {message}")
    return config


def resolve_data_names(data: dict[str, Any], where: str, folder: Path) -> dict[str, Any]:
    """Return the table with the values of its preset, and with the degradation that it names."""
    name = data.get("preset")
    if name is not None and name not in DATA_PRESETS:
        raise ConfigError(f"{where}: unknown preset {name!r}; known: {', '.join(DATA_PRESETS)}")
    preset = {} if name is None else DATA_PRESETS[name]
    values = preset | {key: value for key, value in data.items() if key != "preset"}
    if isinstance(values.get("degradation"), str):
        values["degradation"] = choose_degradation(values["degradation"], folder)
    return values


def _locate_named_weights(values: dict[str, Any], where: str, folder: Path) -> dict[str, Any]:
    """Return the tables that name weights, with the path in place of each name of a shipped model."""
    located: dict[str, Any] = {}
    for table, key in WEIGHTS_KEYS:
        content = values.get(table)
        if not isinstance(content, dict):
            continue
        words: Any = content.get(key)
        listed: list[Any] = words if isinstance(words, list) else [words]
        if not all(isinstance(word, str) for word in listed):
            continue  # what is wrong with it is said where it is parsed
        try:
            paths = [str(locate_weights(word, folder)) for word in listed]
        except ModelNotFoundError as error:
            raise ConfigError(f"{where} [{table}]: {key}: {error}") from error
        located[table] = content | {key: paths if isinstance(words, list) else paths[0]}
    return located
