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

[[stage]]                     # starts from the mean of both
name = "mean"
start = ["clean", "scanned"]
schedule = { steps = 0 }
```

Keys in a stage's tables replace those of the tables above the stages. Stage 1 runs in the folder `stage-1` of the run,
and so on. A recipe without stages is one run in the folder itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from wsisr.config import read_toml
from wsisr.errors import ConfigError
from wsisr.training.config import CONFIG_TABLES, TrainConfig, parse_train_config
from wsisr.training.loop import TrainingRun, result_file

STAGES_KEY = "stage"
STAGE_KEYS = ("name", "start", *CONFIG_TABLES, "seed")
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
    table: dict[str, Any], shared: dict[str, Any], earlier: Sequence[TrainStage], path: Path
) -> TrainStage:
    index = len(earlier)
    where = f"{path}: stage {index + 1}"
    _refuse_unknown_keys(table, STAGE_KEYS, where)
    names = [stage.name for stage in earlier]
    name = table.get("name", str(index + 1))
    if not isinstance(name, str) or name in names:
        raise ConfigError(f"{where}: name = {name!r} is not a text in quotes that no earlier stage has")
    values = {key: value for key, value in (shared | table).items() if key not in ("name", "start")}
    values |= {key: _merge_table(key, shared, table, where) for key in CONFIG_TABLES if key in values}
    starts = _find_starts(table, names, where)
    if index == 0 and "start" not in table:
        return TrainStage(name, parse_train_config(values, where, path.parent))
    own_network = table.get("network", {})
    network = {
        key: value for key, value in values.get("network", {}).items() if key not in START_KEYS or key in own_network
    }
    if not starts:
        return TrainStage(name, parse_train_config(values | {"network": network}, where, path.parent))
    files = [f"{stage_folder(start)}/{result_file(earlier[start].config)}" for start in starts]
    config = parse_train_config(values | {"network": network | {"warm_start": files}}, where, path.parent)
    relative = replace(config.network, warm_start=tuple(map(Path, files)))
    return TrainStage(name, replace(config, network=relative), starts)


def _find_starts(table: dict[str, Any], names: Sequence[str], where: str) -> tuple[int, ...]:
    """Return the indices of the earlier stages from which a stage starts: none, or by default the one before."""
    own_files = "warm_start" in table.get("network", {})
    if "start" not in table:
        return () if own_files or not names else (len(names) - 1,)
    if own_files:
        raise ConfigError(f"{where}: start names stages and warm_start files; give one of them")
    start = [table["start"]] if isinstance(table["start"], str) else table["start"]
    if not isinstance(start, list) or not set(map(str, start)) <= set(names):
        known = ", ".join(names) or "none"
        raise ConfigError(f"{where}: start = {table['start']!r} does not name earlier stages; there are: {known}")
    return tuple(names.index(str(name)) for name in start)


def _merge_table(key: str, shared: dict[str, Any], stage: dict[str, Any], where: str) -> Any:
    """Return a table in which the stage's keys replace the shared ones."""
    tables = [values.get(key, {}) for values in (shared, stage)]
    if not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{where}: {key} is not a table")
    return tables[0] | tables[1]


def _refuse_unknown_keys(table: dict[str, Any], known: Sequence[str], where: str) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(known)}")
