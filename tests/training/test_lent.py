"""Training away from home: with few packages, on a machine that there is for minutes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from pathlib import Path

import pytest
import torch

from tests.support.pairs import write_dataset
from tests.support.samples import REPOSITORY
from wsisr.dataset.packing import DatasetPacking
from wsisr.models.weights import load_network
from wsisr.training.config_file import read_train_config
from wsisr.training.loop import TrainingRun
from wsisr.training.stages import read_recipe

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = """
[network]
scale = 2
channels = 8
blocks = 1
window = 3

[data]
dataset = "pairs"
patch_px = 8
batch = 2
kernels = { area = 1, stored = 1, scan = 1, degraded = 1 }

[schedule]
steps = 6
warm_up = 1
validate_every = 3
"""

FEW = """
import sys

ABSENT = {"zarr", "openslide", "imagecodecs", "tifffile", "typer", "rich", "google_crc32c", "scipy"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
"""

STEPS = """
from itertools import islice
from pathlib import Path
import torch
from wsisr.training.config_file import read_train_config
from wsisr.training.loop import TrainingRun

torch.set_num_threads(1)
run = TrainingRun(read_train_config(Path("recipe.toml")), Path("lent"), torch.device("cpu"))
for _ in islice(run, 4):
    pass
run.save()
"""

COMMAND = """
import runpy
runpy.run_module("wsisr.training", run_name="__main__", alter_sys=True)
"""


def bare(folder: Path, program: str, *arguments: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", FEW + program, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def write_recipe(folder: Path) -> Path:
    deque(DatasetPacking(write_dataset(folder / "whole"), folder / "pairs", 1.0))
    (folder / "recipe.toml").write_text(RECIPE)
    return folder / "recipe.toml"


def test_a_run_goes_on_on_a_bare_machine_as_one(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    for _ in TrainingRun(read_train_config(recipe), tmp_path / "alone", torch.device("cpu")):
        pass
    for _ in range(2):
        bare(tmp_path, STEPS)
    for name in ("best.safetensors", "last.safetensors"):
        assert (tmp_path / "lent" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def write_recipes(folder: Path) -> list[str]:
    """Two recipes, one of two stages and in half precision."""
    first = write_recipe(folder)
    second = folder / "staged.toml"
    second.write_text(RECIPE + "[result]\nhalf = true\n[[stage]]\n[[stage]]\nschedule = { steps = 4 }\n")
    return [str(first), str(second)]


def test_recipes_side_by_side_on_a_bare_machine_are_what_each_is_alone(tmp_path: Path) -> None:
    recipes = write_recipes(tmp_path)
    said = bare(tmp_path, COMMAND, *recipes, "-o", "home", "--device", "cpu")
    assert "home/recipe: step 6 of 6, loss 0." in said
    assert "home/staged/stage-2: step 4 of 4, loss 0." in said
    for path in map(Path, recipes):
        for run in read_recipe(path).open_runs(tmp_path / path.stem, torch.device("cpu")):
            list(run)
    for folder in ("recipe", "staged/stage-1", "staged/stage-2"):
        for name in ("best.safetensors", "last.safetensors", "metrics.jsonl"):
            assert (tmp_path / "home" / folder / name).read_bytes() == (tmp_path / folder / name).read_bytes()


def test_a_lease_that_ends_brings_checkpoints_home_and_the_next_goes_on(tmp_path: Path) -> None:
    recipes = write_recipes(tmp_path)
    options = ["-o", "home", "--device", "cpu"]
    for steps in (1, 2):
        said = bare(tmp_path, COMMAND, recipes[0], *options, "--minutes", "0")
        assert f"home/recipe: step {steps} of 6, loss 0." in said
    assert "home/recipe: step 6 of 6, loss 0." in bare(tmp_path, COMMAND, *recipes, *options)
    whole, half = (
        load_network(tmp_path / "home" / name / "last.safetensors")[1] for name in ("recipe", "staged/stage-1")
    )
    for mine, theirs in zip(whole.parameters(), half.parameters(), strict=True):
        assert torch.equal(mine.half().float(), theirs)


def test_a_recipe_that_cannot_be_meant_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[network]\nsize = 2\n")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", FEW + COMMAND, "bad.toml", "-o", "home"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        done.stderr
        == "wsisr: bad.toml [network]: unknown key 'size'; known: scale, family, "
        + done.stderr.partition("family, ")[2]
    )
