"""`wsisr train`: says where it is, stops when asked, goes on by itself."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.support.pairs import write_dataset
from tests.support.samples import REPOSITORY
from wsisr.cli.train import train_command
from wsisr.errors import ConfigError, DatasetError, DeviceError

app = typer.Typer()
app.command()(train_command)

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

[schedule]
steps = {steps}
warm_up = 3
validate_every = {steps}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "pairs")
    return write_recipe(tmp_path / "small.toml", 6)


def write_recipe(path: Path, steps: int) -> Path:
    path.write_text(RECIPE.format(steps=steps))
    return path


def run(recipe: Path, *options: str) -> Result:
    arguments = [str(recipe), "-o", str(recipe.parent / "run"), "--device", "cpu", "--threads", "1", *options]
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments, catch_exceptions=False)


def test_a_run_ends_by_saying_where_the_best_weights_are(recipe: Path) -> None:
    done = run(recipe)
    assert done.exit_code == 0
    best = recipe.parent / "run" / "best.safetensors"
    assert re.fullmatch(
        rf"{re.escape(str(best))}: [+-]\d+\.\d\d dB over bicubic on the validation patches\n", done.stdout
    )
    assert best.is_file()
    lines = done.stderr.splitlines()
    assert lines[0] == f"wsisr: {recipe}: the run is to be {recipe.parent / 'run'}"
    assert re.fullmatch(r"wsisr: .*run: \d+ trainable parameters, 6 steps, 2 slides, on cpu", lines[1])
    assert re.fullmatch(
        r"wsisr: train: 100 %, step 6/6, .* steps/s, loss 0\.\d{4}, [+-]\d+\.\d\d dB, 0 s left", lines[-1]
    )


def test_a_second_run_has_nothing_to_do_and_says_the_same(recipe: Path) -> None:
    first, second = run(recipe), run(recipe)
    assert second.exit_code == 0
    assert second.stdout == first.stdout
    assert second.stderr.endswith("run: all 6 steps are done\n")


STAGES = """cuda_graphs = true

[[stage]]
name = "first"

[[stage]]
schedule = { steps = 3 }
result = { weights = "last" }
"""


def test_stages_follow_each_other_and_what_is_not_used_of_a_recipe_is_said(recipe: Path) -> None:
    recipe.write_text(recipe.read_text() + STAGES)
    done = run(recipe)
    assert done.exit_code == 0
    folder = recipe.parent / "run"
    assert done.stdout.startswith(f"{folder / 'stage-2' / 'last.safetensors'}: ")
    assert done.stderr.count("wsisr: cuda_graphs is not used: the device is cpu, not a CUDA GPU\n") == 2
    for stage, steps in ((1, 6), (2, 3)):
        assert f"wsisr: {folder / f'stage-{stage}'}: " in done.stderr
        assert f"step {steps}/{steps}" in done.stderr
    again = run(recipe)
    assert again.stdout == done.stdout
    assert again.stderr.endswith("stage-2: all 3 steps are done\n")


def test_quiet_says_nothing(recipe: Path) -> None:
    done = run(recipe, "--quiet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")


def test_numbers_for_tensorboard_are_written_or_the_package_is_named(recipe: Path) -> None:
    try:
        run(recipe, "--board")
    except ConfigError as error:
        assert "pip install 'wsisr[board]'" in str(error)  # noqa: PT017 - which of the two depends on what is installed
    else:
        assert list((recipe.parent / "run" / "board").glob("events.*"))


def test_bad_input_is_refused(recipe: Path) -> None:
    with pytest.raises(DeviceError, match="is not a device"):
        run(recipe, "--device", "abacus")
    run(recipe)
    with pytest.raises(ConfigError, match="belongs to another configuration"):
        run(write_recipe(recipe, 5))
    (recipe.parent / "pairs" / "manifest.jsonl").unlink()
    with pytest.raises(DatasetError, match="make one with wsisr build-dataset"):
        run(recipe)
    with pytest.raises(ConfigError, match="cannot be read"):
        run(recipe.parent / "none.toml")


def test_ctrl_c_saves_the_step_in_hand_and_the_same_command_goes_on(tmp_path: Path) -> None:
    write_dataset(tmp_path / "pairs")
    recipe = write_recipe(tmp_path / "long.toml", 10**6)
    command = [sys.executable, "-m", "wsisr", "train", str(recipe), "-o", str(tmp_path / "run"), "--device", "cpu"]
    stops = []
    for _ in range(2):
        with subprocess.Popen(
            command, cwd=REPOSITORY, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            assert "the run is to be" in process.stderr.readline()
            first = process.stderr.readline()
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
        found = re.fullmatch(r"wsisr: stopped at step (\d+) of 1000000; the same command goes on from there\n", rest)
        assert found
        stops.append((first, int(found[1])))
        assert process.returncode == 130
    (_, before), (first, after) = stops
    assert f"run: resuming at step {before} of 1000000\n" in first
    assert after > before > 0
