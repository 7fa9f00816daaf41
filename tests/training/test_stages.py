"""Recipes of several stages: what a stage starts from, what is refused, and that a kill anywhere changes no byte."""

from __future__ import annotations

import signal
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.forks import run_in_forks
from tests.support.pairs import write_dataset
from wsisr.errors import ConfigError
from wsisr.training.config_file import read_train_config
from wsisr.training.loop import BEST_WEIGHTS_FILE, LAST_WEIGHTS_FILE, METRICS_FILE, TrainingRun
from wsisr.training.stages import TrainRecipe, read_recipe

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")

SHARED = """
[network]
scale = 2
channels = 8
blocks = 1
window = 3

[data]
dataset = "pairs"
patch_px = 8
batch = 2

[schedule]
steps = 4
warm_up = 1
ema = 0.9
validate_every = 2
save_every = 1
"""

STAGES = """
[[stage]]
name = "clean"

[[stage]]
name = "scanned"
data = { kernels = { area = 1, scan = 1 } }
schedule = { steps = 6, stop_after = 3, validate_every = 3 }
result = { weights = "last" }

[[stage]]
name = "mean"
start = ["clean", "scanned", "scanned"]
schedule = { steps = 0 }

[[stage]]
name = "crisp"
data = { patch_px = 16 }
loss = { adversarial = 0.1 }
adversary = { channels = 4 }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    write_dataset(folder / "pairs")
    write_recipe(folder, STAGES)
    finish(read_recipe(folder / "recipe.toml"), folder / "whole")
    return folder


def write_recipe(folder: Path, stages: str, shared: str = SHARED) -> Path:
    path = folder / "recipe.toml"
    path.write_text(shared + stages)
    return path


def finish(recipe: TrainRecipe, folder: Path) -> list[TrainingRun]:
    runs = []
    for run in recipe.open_runs(folder, CPU):
        for _ in run:
            pass
        runs.append(run)
    return runs


def read_outcome(folder: Path) -> dict[str, bytes]:
    names = (BEST_WEIGHTS_FILE, LAST_WEIGHTS_FILE, METRICS_FILE)
    return {
        f"{stage}/{name}": (folder / f"stage-{stage}" / name).read_bytes() for stage in range(1, 5) for name in names
    }


def test_each_stage_is_a_run_of_its_own_with_the_shared_values_and_its_own(folder: Path) -> None:
    clean, scanned, mean, crisp = (stage.config for stage in read_recipe(folder / "recipe.toml").stages)
    assert [config.schedule.last_step for config in (clean, scanned, mean, crisp)] == [4, 3, 0, 4]
    assert clean.data.kernels is None
    assert scanned.data.kernels == {"area": 1, "scan": 1}
    assert scanned.schedule.ema == 0.9
    assert (clean.data.patch_px, crisp.data.patch_px) == (8, 16)
    assert (mean.loss.adversarial, crisp.loss.adversarial, crisp.loss.l1) == (0, 0.1, 1)


def test_a_stage_starts_from_the_result_of_the_one_before_or_from_the_mean_of_those_it_names(folder: Path) -> None:
    clean = load_file(folder / "whole" / "stage-1" / BEST_WEIGHTS_FILE)
    scanned = load_file(folder / "whole" / "stage-2" / LAST_WEIGHTS_FILE)
    mean = load_file(folder / "whole" / "stage-3" / LAST_WEIGHTS_FILE)
    for name, tensor in mean.items():
        assert torch.allclose(tensor, (clean[name] + 2 * scanned[name]) / 3, atol=1e-7), name
    recipe = read_recipe(folder / "recipe.toml")
    assert [stage.starts for stage in recipe.stages] == [(), (0,), (0, 1, 1), (2,)]
    started = recipe.open_run(1, folder / "whole", CPU)
    assert started.config.network.warm_start == (folder / "whole" / "stage-1" / BEST_WEIGHTS_FILE,)


def test_a_stage_of_no_steps_is_its_start(folder: Path) -> None:
    stage = folder / "whole" / "stage-3"
    assert (stage / BEST_WEIGHTS_FILE).read_bytes() == (stage / LAST_WEIGHTS_FILE).read_bytes()
    assert (stage / METRICS_FILE).read_text().count("\n") == 1
    before = read_outcome(folder / "whole")
    finish(read_recipe(folder / "recipe.toml"), folder / "whole")
    assert read_outcome(folder / "whole") == before


def test_a_recipe_of_one_stage_is_the_run_that_it_was(folder: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "pairs")
    recipe = write_recipe(tmp_path, "")
    (run,) = finish(read_recipe(recipe), tmp_path / "recipe")
    assert run.folder == tmp_path / "recipe"
    for _ in TrainingRun(read_train_config(recipe), tmp_path / "run", CPU):
        pass
    for name in (BEST_WEIGHTS_FILE, LAST_WEIGHTS_FILE, METRICS_FILE):
        expected = (tmp_path / "run" / name).read_bytes()
        assert (tmp_path / "recipe" / name).read_bytes() == expected
        assert (folder / "whole" / "stage-1" / name).read_bytes() == expected


def test_stages_dropped_after_every_step_end_as_if_they_had_not_been(folder: Path, tmp_path: Path) -> None:
    recipe, steps = read_recipe(folder / "recipe.toml"), 0
    while unfinished := next((run for run in recipe.open_runs(tmp_path, CPU) if not run.is_finished), None):
        steps += len(list(islice(unfinished, 1)))
    assert steps == 4 + 3 + 0 + 4
    assert read_outcome(tmp_path) == read_outcome(folder / "whole")


KILLED = """
import os, signal
from pathlib import Path
import torch
from wsisr.training.stages import read_recipe

def train_until(recipe, folder, stage, step):
    torch.set_num_threads(1)
    for number, run in enumerate(read_recipe(Path(recipe)).open_runs(Path(folder), torch.device("cpu")), start=1):
        for report in run:
            if (number, report.step) == (stage, step):
                os.kill(os.getpid(), signal.SIGKILL)
"""
KILLS = [(1, 4), (2, 2), (4, 3)]


@pytest.fixture(scope="module")
def killed_folders(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], Path]:
    """Stage and step to the folder of a recipe whose process was killed in it."""
    recipe, folders = str(folder / "recipe.toml"), {kill: tmp_path_factory.mktemp("killed") for kill in KILLS}
    calls = [f"train_until({recipe!r}, {str(killed)!r}, *{kill})" for kill, killed in folders.items()]
    assert run_in_forks(KILLED, calls) == [-signal.SIGKILL] * len(KILLS)
    return folders


@pytest.mark.parametrize(("stage", "step"), KILLS)
def test_a_recipe_killed_in_any_stage_ends_as_if_it_had_not_been(
    folder: Path, killed_folders: dict[tuple[int, int], Path], stage: int, step: int
) -> None:
    killed = killed_folders[stage, step]
    assert (killed / f"stage-{stage}").exists()
    assert not (killed / f"stage-{stage + 1}").exists()
    finish(read_recipe(folder / "recipe.toml"), killed)
    assert read_outcome(killed) == read_outcome(folder / "whole")


def test_a_stage_whose_start_has_changed_is_another_run(tmp_path: Path) -> None:
    write_dataset(tmp_path / "pairs")
    finish(read_recipe(write_recipe(tmp_path, STAGES)), tmp_path / "run")
    changed = STAGES.replace('name = "clean"', 'name = "clean"\nseed = 1')
    recipe = read_recipe(write_recipe(tmp_path, changed))
    for stage in (1, 2):  # the second is the same but for what it starts from
        with pytest.raises(ConfigError, match=rf"stage-{stage}/checkpoint\.pt: belongs to another configuration"):
            recipe.open_run(stage - 1, tmp_path / "run", CPU)


def test_a_result_in_half_precision_is_the_whole_one_rounded(tmp_path: Path) -> None:
    write_dataset(tmp_path / "pairs")
    for name, half in (("whole", "false"), ("half", "true")):
        finish(read_recipe(write_recipe(tmp_path, f"[result]\nhalf = {half}\n")), tmp_path / name)
    whole, rounded = (load_file(tmp_path / name / LAST_WEIGHTS_FILE) for name in ("whole", "half"))
    assert all(torch.equal(rounded[name], tensor.half()) for name, tensor in whole.items())


@pytest.mark.parametrize(
    ("stages", "reason"),
    [
        ("[stage]\nname = 1", r"stages are tables; begin each with \[\[stage\]\]"),
        ("[[stage]]\nkernel = 1", "stage 1: unknown key 'kernel'; known: name, like, start, network, data"),
        ("[[stage]]\n[stage.data]\nkernel = 1", r"stage 1 \[data\]: unknown key 'kernel'; known: dataset, patch_px"),
        ("[[stage]]\ndata = 5", "stage 1: data is not a table"),
        ("[[stage]]\nname = 5", "stage 1: name = 5 is not a text in quotes"),
        ('[[stage]]\nname = "a"\n[[stage]]\nname = "a"', "stage 2: name = 'a' is not a text in quotes that no earlier"),
        (
            '[[stage]]\nname = "a"\n[[stage]]\nstart = "b"',
            "stage 2: start = 'b' does not name earlier stages; there are: a",
        ),
        (
            f'[[stage]]\nname = "{"x" * 999}"\n[[stage]]\nstart = "{"y" * 999}"',
            f"stage 2: start = 'y{{9,300}}.* does not name earlier stages; there are: {'x' * 80}$",
        ),
        ('[[stage]]\nstart = "1"', "stage 1: start = '1' does not name earlier stages; there are: none"),
        ('[[stage]]\nlike = "2"', "stage 1: like = '2' does not name earlier stages; there are: none"),
        ('[[stage]]\n[[stage]]\n[[stage]]\nlike = ["1", "2"]', "stage 3: like = .* does not name earlier stages"),
        ("[[stage]]\n[[stage]]\nstart = 1", "stage 2: start = 1 does not name earlier stages; there are: 1"),
        (
            '[[stage]]\n[[stage]]\nstart = "1"\nnetwork = { warm_start = "a.safetensors" }',
            "stage 2: start names stages and warm_start files; give one of them",
        ),
        ("[[stage]]\nschedule = { steps = 0 }", "stage 1: steps, validate_every and save_every must be at least 1"),
        ("[[stage]]\nschedule = { stop_after = -1 }", "stage 1: stop_after must be at least 0"),
        ("[[stage]]\nnetwork = { fold = true }", "stage 1: fold needs a warm_start"),
        ("[[stage]]\nnetwork = { fold = 1 }", r"stage 1 \[network\]: fold = 1 is not true or false"),
        ('[[stage]]\nresult = { weights = "first" }', "stage 1: weights = first is not one of best, last"),
    ],
)
def test_stages_that_cannot_be_meant_are_one_line(tmp_path: Path, stages: str, reason: str) -> None:
    path = write_recipe(tmp_path, stages)
    with pytest.raises(ConfigError, match=rf"recipe\.toml: {reason}") as error:
        read_recipe(path)
    assert "\n" not in str(error.value)


def test_a_stage_may_start_from_nothing_or_from_files_in_the_middle_of_a_recipe(tmp_path: Path) -> None:
    stages = '[[stage]]\n[[stage]]\nstart = []\n[[stage]]\nnetwork = { warm_start = "x.safetensors" }\n[[stage]]\n'
    shared = SHARED.replace("[data]", 'warm_start = "first.safetensors"\n[data]')
    starts = [stage.config.network.warm_start for stage in read_recipe(write_recipe(tmp_path, stages, shared)).stages]
    own = tmp_path / "x.safetensors"
    assert starts == [(tmp_path / "first.safetensors",), (), (own,), (Path("stage-3") / BEST_WEIGHTS_FILE,)]


LIKE = """
[[stage]]
name = "model"
network = { warm_start = "x.safetensors", family = "masrgan-none", fold = true }
schedule = { steps = 9 }
data = { kernels = { scan = 1 } }

[[stage]]
name = "early"
like = "model"
schedule = { stop_after = 2 }

[[stage]]
like = "model"
start = ["early", "model"]
data = { batch = 3 }

[[stage]]
like = "3"
seed = 5
"""


def test_a_stage_like_another_differs_in_its_own_keys_only(tmp_path: Path) -> None:
    model, early, third, fourth = read_recipe(write_recipe(tmp_path, LIKE)).stages
    schedule = replace(model.config.schedule, stop_after=2)
    assert early.config == replace(model.config, schedule=schedule)
    assert (third.starts, fourth.starts) == ((1, 0), (1, 0))
    assert (model.config.network.fold, third.config.network.fold) == (True, False)
    assert (third.config.schedule, third.config.data.kernels) == (model.config.schedule, {"scan": 1})
    assert third.config.data.batch == 3
    assert fourth.config == replace(third.config, seed=5)
