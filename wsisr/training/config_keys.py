"""The keys of a run's recipe, flat and as text: a checkpoint holds them to say what a later recipe changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from wsisr.dataset.degradation import ARCHIVE
from wsisr.training.config import PYRAMID_KERNELS, UNDIGESTED_KEYS, TrainConfig

ConfigKeys = Mapping[str, str]
"""Maps the keys of a recipe, such as `schedule.steps`, to their values."""

STEPS_KEY, STOP_KEY = "schedule.steps", "schedule.stop_after"

_FREE_KEYS = {f"{table}.{key}" for table, key in UNDIGESTED_KEYS}


def flatten_config(config: TrainConfig, start_digests: Sequence[str] = ()) -> dict[str, str]:
    """Return all keys of a recipe but those of its result; see `TrainConfig.compute_digest` for `start_digests`."""
    values = {item.name: getattr(config, item.name) for item in fields(config) if item.name != "result"}
    tables = {name: value if name == "seed" else asdict(value) for name, value in values.items()}
    tables["network"]["warm_start"] = [path.name for path in config.network.warm_start]
    if not config.network.reparameterise:  # runs begun before it was there can be prolonged
        del tables["network"]["reparameterise"]
    tables["loss"]["features"] = config.loss.features and config.loss.features.name
    kernels = config.data.kernels or PYRAMID_KERNELS
    del tables["data"]["kernels"]
    keys = dict(_flatten_table(tables, ""))
    keys["data.kernels"] = ", ".join(f"{name} {share:g}" for name, share in kernels.items())
    if "archive" in kernels:  # its steps may be others in another version
        keys["the preset archive"] = hashlib.sha256(json.dumps(asdict(ARCHIVE)).encode()).hexdigest()[:8]
    if start_digests:
        keys["the stages that it starts from"] = ", ".join(digest[:8] for digest in start_digests)
    return keys


def list_changed_keys(before: ConfigKeys, now: ConfigKeys) -> list[str]:
    """Return the keys whose values differ, without those that may change in a run at any time."""
    names = dict.fromkeys([*now, *before])
    return [name for name in names if name not in _FREE_KEYS and before.get(name) != now.get(name)]


def describe_change(key: str, before: ConfigKeys, now: ConfigKeys) -> str:
    """Return `schedule.steps: was 600, now 800`."""
    return f"{key}: was {before.get(key, 'not there')}, now {now.get(key, 'not there')}"


def is_prolonged(before: ConfigKeys, now: ConfigKeys, step: int) -> bool:
    """Return whether a recipe gives more steps to a run that has done all of its own, `step`, and changes no more."""
    if list_changed_keys(before, now) != [STEPS_KEY]:
        return False
    texts = before.get(STEPS_KEY, ""), before.get(STOP_KEY, "")
    if not all(text.isdecimal() for text in texts):
        return False
    steps, stop = map(int, texts)
    return step >= min(steps, stop or steps) and int(now[STEPS_KEY]) > step


def _flatten_table(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten_table(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{key}", ", ".join(map(str, value)) or "none"
        else:
            yield f"{prefix}{key}", "none" if value in (None, "") else str(value)
