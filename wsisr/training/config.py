"""What a training run is told: values in a TOML file, their defaults and meaning here. An unknown key is an error."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from wsisr.errors import ConfigError

T = TypeVar("T")

KERNELS = ("area", "bicubic", "lanczos", "pyramid")


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Shape of the network; see `ModelSpec`."""

    scale: int
    family: str = "masrgan"
    channels: int = 48
    blocks: int = 8
    window: int = 9
    warm_start: Path | None = None
    """Weights whose fitting tensors are the start, such as those of a smaller scale."""


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Where pairs come from and how the low resolution arises."""

    dataset: Path
    patch_px: int = 48
    """Side of a low-resolution crop."""
    batch: int = 16
    kernels: dict[str, float] = field(default_factory=lambda: {"area": 0.4, "bicubic": 0.4, "pyramid": 0.2})
    """Kernel to its share of the samples. `pyramid` is the slide's own coarser level."""


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """How long and how fast."""

    steps: int
    learning_rate: float = 1e-3
    warm_up: int = 200
    """Steps in which the rate rises from 0; then it falls to 0 along a cosine."""
    ema: float = 0.999
    """Decay of the moving average of the weights; the average is what is validated and kept."""
    validate_every: int = 500
    save_every: int = 100


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A whole training run."""

    network: NetworkConfig
    data: DataConfig
    schedule: ScheduleConfig
    seed: int = 0

    def digest(self) -> str:
        """Changes with anything that changes the outcome: a checkpoint belongs to one digest."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, default=str).encode()).hexdigest()


def read_config(path: Path) -> TrainConfig:
    """A TOML file with the tables `network`, `data`, `schedule`; relative paths start at the file's folder."""
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not a readable TOML file ({error})") from error
    tables = {"network": NetworkConfig, "data": DataConfig, "schedule": ScheduleConfig}
    for name, kind in tables.items():
        table = values.get(name)
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: table [{name}] is missing")
        values[name] = _made(kind, _resolved(table, path.parent), f"{path} [{name}]")
    config = _made(TrainConfig, values, str(path))
    _check(config, path)
    return config


def _made(kind: type[T], values: dict[str, Any], where: str) -> T:
    known = [item.name for item in fields(kind)]  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(known)}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{where}: a required key is missing ({error})") from error


def _resolved(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    paths = {key: (folder / str(table[key])).resolve() for key in ("dataset", "warm_start") if key in table}
    return {**table, **paths}


def _check(config: TrainConfig, path: Path) -> None:
    """Refuses values that cannot be meant."""
    data, schedule = config.data, config.schedule
    unknown = sorted(set(data.kernels) - set(KERNELS))
    checks = {
        f"unknown kernel {unknown}; known: {', '.join(KERNELS)}": bool(unknown),
        "kernels need shares above 0": not unknown and not (sum(data.kernels.values()) > 0 <= min(data.kernels.values())),
        "scale must be 2 or 4": config.network.scale not in (2, 4),
        "patch_px and batch must be at least 1": min(data.patch_px, data.batch) < 1,
        "steps, validate_every and save_every must be at least 1": (
            min(schedule.steps, schedule.validate_every, schedule.save_every) < 1
        ),
        "ema must be at least 0 and below 1": not 0 <= schedule.ema < 1,
    }
    for message, wrong in checks.items():
        if wrong:
            raise ConfigError(f"{path}: {message}")
