"""Training away from home: with few packages, in several leases."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from pathlib import Path

import torch

from tests.pairs import write_dataset
from tests.samples import REPOSITORY
from wsisr.dataset.packing import Packing
from wsisr.training.config import read_config
from wsisr.training.loop import Run

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
import runpy, sys

ABSENT = {"zarr", "openslide", "imagecodecs", "tifffile", "cv2", "typer", "rich", "google_crc32c", "scipy"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def lease(folder: Path, out: str, *more: str) -> str:
    script = REPOSITORY / "tests" / "bench" / "gputrain.py"
    options = ["-o", str(folder / out), "--device", "cpu", "--threads", "1", *more]
    command = [sys.executable, "-c", FEW, str(script), str(folder / "recipe.toml"), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_leases_on_a_bare_machine_end_as_one(tmp_path: Path) -> None:
    deque(Packing(write_dataset(tmp_path / "whole"), tmp_path / "pairs", 1.0))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    torch.set_num_threads(1)
    for _ in Run(read_config(tmp_path / "recipe.toml"), tmp_path / "whole", torch.device("cpu")):
        pass
    assert "step 4 of 6 on cpu" in lease(tmp_path, "first", "--steps", "4")
    said = lease(tmp_path, "second", "--before", str(tmp_path / "first"))
    assert "step 6 of 6 on cpu: ['run.tar.00', 'best.safetensors', 'last.safetensors']" in said
    for name in ("best.safetensors", "last.safetensors"):
        assert (tmp_path / "second" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
