"""Training away from home: with few packages, on a machine that there is for minutes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from pathlib import Path

import torch

from tests.support.pairs import write_dataset
from tests.support.samples import REPOSITORY
from wsisr.dataset.packing import DatasetPacking
from wsisr.models.weights import load_network
from wsisr.training.config import read_train_config
from wsisr.training.loop import TrainingRun

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

ABSENT = {"zarr", "openslide", "imagecodecs", "tifffile", "cv2", "typer", "rich", "google_crc32c", "scipy"}

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
from wsisr.training.config import read_train_config
from wsisr.training.loop import TrainingRun

torch.set_num_threads(1)
run = TrainingRun(read_train_config(Path("recipe.toml")), Path("lent"), torch.device("cpu"))
for _ in islice(run, 4):
    pass
run.save()
"""

SCRIPT = """
import runpy
sys.argv[0] = str({script!r})
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def bare(folder: Path, program: str, *arguments: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", FEW + program, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_recipe(folder: Path) -> Path:
    deque(DatasetPacking(write_dataset(folder / "whole"), folder / "pairs", 1.0))
    (folder / "recipe.toml").write_text(RECIPE)
    return folder / "recipe.toml"


def test_a_run_goes_on_on_a_bare_machine_as_one(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    torch.set_num_threads(1)
    for _ in TrainingRun(read_train_config(recipe), tmp_path / "alone", torch.device("cpu")):
        pass
    for _ in range(2):
        bare(tmp_path, STEPS)
    for name in ("best.safetensors", "last.safetensors"):
        assert (tmp_path / "lent" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_a_lease_of_a_second_brings_weights_home(tmp_path: Path) -> None:
    script = REPOSITORY / "tests" / "bench" / "science" / "gputrain.py"
    options = ["--minutes", "0.02", "--processes", "1", "--pairs", "32", "-o", "home"]
    said = bare(tmp_path, SCRIPT.format(script=str(script)), str(write_recipe(tmp_path)), *options)
    assert "of 2 in 0.02 min" in said
    whole, half = (load_network(tmp_path / "home" / f"recipe{end}.safetensors")[1] for end in ("", "-half"))
    for mine, theirs in zip(whole.parameters(), half.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-3)
