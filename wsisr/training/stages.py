"""Recipes of several stages, run one after the other in one folder.

```toml
[network]                     # tables that all stages share
scale = 2
[data]
dataset = "../data/pairs"

[[stage]]
name = "clean"
schedule = { steps = 3400 }

[[stage]]                     # starts from the result of the stage before
name = "scanned"
data = { kernels = { area = 1, scan = 1 } }
schedule = { steps = 2500, learning_rate = 8e-4 }

[[stage]]                     # starts where "scanned" does, and differs from it in one key
name = "early"
like = "scanned"
schedule = { stop_after = 500 }

[[stage]]                     # starts from the mean of both, and leaves it as it is
name = "mean"
start = ["early", "scanned"]
schedule = { steps = 0 }
```

Keys in a stage's tables replace those of the tables above the stages, or of the stage that it is `like`. Stage 1 runs
in the folder `stage-1` of the run, and so on. A recipe without stages is one run in the folder itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from wsisr.config import describe_unknown_key, read_toml, shorten_value
from wsisr.errors import ConfigError
from wsisr.training.config import TrainConfig
from wsisr.training.config_file import CONFIG_TABLES, parse_train_config
from wsisr.training.loop import TrainingRun, result_file

STAGES_KEY = "stage"
STAGE_KEYS = ("name", "like", "start", *CONFIG_TABLES, "seed")
START_KEYS = ("warm_start", "fold")
"""Keys of the table `network` that belong to the first stage, or to the stage that has them itself."""


@dataclass(frozen=True, slots=True)
class TrainStage:
    """One stage of a recipe."""

    name: str
    config: TrainConfig
    """Weights of earlier stages in its `warm_start` are relative to the folder of the whole run."""
    starts: tuple[int, ...] = ()
    """Indices of the earlier stages from whose mean it starts."""
    tables: Mapping[str, Any] = field(default_factory=dict)
    """Its tables after inheritance from the shared tables and from `like`."""


@dataclass(frozen=True, slots=True)
class TrainRecipe:
    """The stages of a TOML file, at least one."""

    stages: tuple[TrainStage, ...]
    has_stages: bool
    """Whether each stage has a folder of its own."""

    def open_run(self, index: int, folder: Path, device: torch.device) -> TrainingRun:
        """Start or resume a stage. Raises a `WsisrError` if that is impossible."""
        config = self.stages[index].config
        paths = tuple(folder / path for path in config.network.warm_start)
        config = replace(config, network=replace(config.network, warm_start=paths))
        own = folder / stage_folder(index) if self.has_stages else folder
        return TrainingRun(config, own, device, [self._digest(start) for start in self.stages[index].starts])

    def open_runs(self, folder: Path, device: torch.device) -> Iterator[TrainingRun]:
        """Yield the run of each stage in turn; ends early if the caller leaves one of them unfinished.

        Raises a `WsisrError` if a stage can neither be started nor resumed.
        """
        for index in range(len(self.stages)):
            run = self.open_run(index, folder, device)
            yield run
            if not run.is_finished:
                return
            run.fabric.barrier()  # other processes read what the main one has written

    def _digest(self, index: int) -> str:
        """Hash of a stage and of all that it starts from."""
        stage = self.stages[index]
        return stage.config.compute_digest([self._digest(start) for start in stage.starts])


def read_recipe(path: Path) -> TrainRecipe:
    """Read a TOML file with or without stages. Relative paths start at the file's folder.

    Raises `ConfigError` if the file cannot be read or a key or value in it is invalid.
    """
    values = read_toml(path)
    if STAGES_KEY not in values:
        stage = TrainStage(path.stem, parse_train_config(values, str(path), path.parent))
        return TrainRecipe((stage,), has_stages=False)
    tables = values.pop(STAGES_KEY)
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{path}: stages are tables; begin each with [[{STAGES_KEY}]]")
    _refuse_unknown_keys(values, ("seed", *CONFIG_TABLES, STAGES_KEY), str(path))
    stages: list[TrainStage] = []
    for table in tables:
        stages.append(_parse_stage(table, values, stages, path))
    return TrainRecipe(tuple(stages), has_stages=True)


def stage_folder(index: int) -> str:
    """Return the name of the folder of a stage, counted from 1."""
    return f"stage-{index + 1}"


def _parse_stage(
    table: dict[str, Any], shared: Mapping[str, Any], earlier: Sequence[TrainStage], path: Path
) -> TrainStage:
    where = f"{path}: stage {len(earlier) + 1}"
    _refuse_unknown_keys(table, STAGE_KEYS, where)
    names = [stage.name for stage in earlier]
    name = table.get("name", str(len(earlier) + 1))
    if not isinstance(name, str) or name in names:
        raise ConfigError(f"{where}: name = {name!r} is not a text in quotes that no earlier stage has")
    model = _find_stages(table["like"], names, where, "like")[0] if "like" in table else None
    above = shared if model is None else earlier[model].tables
    tables = {**above, **table} | {key: _merge_table(key, above, table, where) for key in CONFIG_TABLES}
    starts, takes_files = _find_starts(table, model, earlier, where)
    if not takes_files:
        own = table.get("network", {})
        inherited = tables["network"].items()
        tables["network"] = {key: value for key, value in inherited if key not in START_KEYS or key in own}
    files = [f"{stage_folder(index)}/{result_file(earlier[index].config)}" for index in starts]
    if files:
        tables["network"] = tables["network"] | {"warm_start": files}
    values = {key: value for key, value in tables.items() if key not in ("name", "like", "start") and value != {}}
    config = parse_train_config(values, where, path.parent)
    if files:  # parsed relative to the recipe, but they lie in the folder of the run
        config = replace(config, network=replace(config.network, warm_start=tuple(map(Path, files))))
    return TrainStage(name, config, starts, tables)


def _find_starts(
    table: Mapping[str, Any], model: int | None, earlier: Sequence[TrainStage], where: str
) -> tuple[tuple[int, ...], bool]:
    """Return the earlier stages that a stage starts from, and whether it may take `START_KEYS` from the tables above.

    Raises `ConfigError`.
    """
    has_files = "warm_start" in table.get("network", {})
    if "start" in table:
        if has_files:
            raise ConfigError(f"{where}: start names stages and warm_start files; give one of them")
        return _find_stages(table["start"], [stage.name for stage in earlier], where, "start"), False
    if has_files or (model is None and not earlier):
        return (), True
    if model is not None:
        return earlier[model].starts, True
    return (len(earlier) - 1,), False


def _find_stages(value: Any, names: Sequence[str], where: str, key: str) -> tuple[int, ...]:
    """Return the indices of the earlier stages that a key names: one of them, or a list."""
    chosen = [value] if isinstance(value, str) else value
    if not isinstance(chosen, list) or not set(map(str, chosen)) <= set(names) or (key == "like" and len(chosen) != 1):
        known = ", ".join(name[:80] for name in names[:12]) or "none"
        raise ConfigError(f"{where}: {key} = {shorten_value(value)} does not name earlier stages; there are: {known}")
    return tuple(names.index(str(name)) for name in chosen)


def _merge_table(key: str, above: Mapping[str, Any], table: Mapping[str, Any], where: str) -> Any:
    """Return a table in which the stage's keys replace those above."""
    tables = [values.get(key, {}) for values in (above, table)]
    if not all(isinstance(values, dict) for values in tables):
        raise ConfigError(f"{where}: {key} is not a table")
    return tables[0] | tables[1]


def _refuse_unknown_keys(table: dict[str, Any], known: Sequence[str], where: str) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ConfigError(f"{where}: {describe_unknown_key(unknown[0], known)}")
