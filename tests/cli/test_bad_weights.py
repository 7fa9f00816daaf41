"""Mistakes with weights, datasets and recipes: one clear line each, and good files stay as they were."""

from __future__ import annotations

import pickle
from contextlib import nullcontext
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.disks import limit_file_size
from tests.support.networks import make_small_network, make_small_spec
from tests.support.pairs import write_dataset
from tests.support.samples import make_noise, write_tiff
from wsisr.cli.app import app, print_errors_as_lines
from wsisr.cli.exit_codes import EXIT_FAILED, EXIT_USAGE
from wsisr.imaging.geometry import Size
from wsisr.models.weights import save_weights

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = """
[network]
scale = 2
channels = 8
blocks = {blocks}
window = 3
{more}

[data]
dataset = "{dataset}"
patch_px = {patch_px}
batch = 2

[schedule]
steps = 3
warm_up = 1
validate_every = 3
save_every = {save_every}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets, weights of another family, and weights that are none."""
    folder = tmp_path_factory.mktemp("lab")
    write_dataset(folder / "pairs")
    write_dataset(folder / "others", mpps=(0.25, 0.25, 0.25))
    save_weights(folder / "span.safetensors", make_small_spec("span"), make_small_network("span").state_dict())
    (folder / "cut.safetensors").write_bytes((folder / "span.safetensors").read_bytes()[:-100])
    (folder / "pickle.safetensors").write_bytes(pickle.dumps({"weight": [1.0]}))
    (folder / "pickle.pth").write_bytes(pickle.dumps({"weight": [1.0]}))
    write_tiff(folder / "slide.tif", make_noise(Size(120, 90)), resolution=(20000, 20000), resolutionunit="CENTIMETER")
    return folder


def train(folder: Path, run: str, **values: object) -> list[str]:
    """The command for a recipe that differs so from a good one."""
    values = {"blocks": 1, "more": "", "dataset": "pairs", "patch_px": 8, "save_every": 1} | values
    (folder / "recipe.toml").write_text(RECIPE.format(**values))
    return ["train", str(folder / "recipe.toml"), "-o", str(folder / run), "--device", "cpu", "--quiet"]


def upscale(folder: Path, model: str) -> list[str]:
    slide, output = str(folder / "slide.tif"), str(folder / "out.tif")
    return ["upscale", slide, "--scale", "2", "--model", str(folder / model), "-o", output, "--device", "cpu"]


def refused(
    command: list[str],
    capsys: pytest.CaptureFixture[str],
    largest_file: int | None = None,
    code: int = EXIT_FAILED,
    lines: int = 1,
) -> str:
    """Return the line that is printed, or the lines, without its beginning; the command must exit with that code."""
    disk = nullcontext() if largest_file is None else limit_file_size(largest_file)
    with pytest.raises(SystemExit) as ended, print_errors_as_lines(), disk:
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert ended.value.code == code
    printed = capsys.readouterr().err
    assert printed.startswith("wsisr: error: ")
    assert printed.count("\n") == lines
    return printed.removeprefix("wsisr: error: ")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"dataset": "nothing"}, "wsisr build-dataset"),
        ({"patch_px": 40}, "patch_px = 40 times scale 2 is more than the 64 px of a patch"),
        (
            {"more": 'warm_start = "span.safetensors"'},
            "a network of the family masrgan cannot start from weights of the family span",
        ),
        ({"more": 'warm_start = "cut.safetensors"'}, "cut.safetensors: not a whole safetensors file"),
        ({"more": 'warm_start = "pickle.safetensors"'}, "pickle.safetensors: not a whole safetensors file"),
        ({"more": "depth = 3"}, "unknown key 'depth'; known: scale"),
    ],
)
def test_a_run_that_cannot_begin_is_one_line_and_leaves_no_folder(
    folder: Path, values: dict[str, object], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = EXIT_FAILED if "warm_start" in str(values) else EXIT_USAGE
    assert reason in refused(train(folder, "none", **values), capsys, code=code)
    assert not (folder / "none").exists()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("cut.safetensors", "not a whole safetensors file"),
        ("pickle.safetensors", "not a whole safetensors file"),
        ("pickle.pth", "a pickle, which could run any code"),
        ("none.safetensors", "no such weights file"),
    ],
)
def test_files_that_are_not_weights_are_one_line(
    folder: Path, model: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = EXIT_USAGE if model == "none.safetensors" else EXIT_FAILED
    assert reason in refused(upscale(folder, model), capsys, code=code)
    assert not (folder / "out.tif").exists()


def test_an_onnx_file_of_wrong_shapes_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx")
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 64, 64]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", ends[:1], ends[1:])
    onnx.save(onnx.helper.make_model(graph), folder / "fixed.onnx")
    assert "fixed.onnx: " in refused(upscale(folder, "fixed.onnx"), capsys)


def test_a_good_checkpoint_survives_every_mistake(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another recipe, another dataset, no room for what comes next: the run then ends as if nothing had been."""
    assert "file too large" in refused(train(folder, "run", save_every=2), capsys, largest_file=3000)
    CliRunner().invoke(app, train(folder, "run"), catch_exceptions=False)
    before = {path.name: path.read_bytes() for path in (folder / "run").iterdir() if path.is_file()}
    changed = refused(train(folder, "run", blocks=2), capsys, code=EXIT_USAGE, lines=2)
    assert "belongs to another configuration" in changed
    assert "network.blocks: was 1, now 2" in changed
    other = refused(train(folder, "run", dataset="others"), capsys, code=EXIT_USAGE)
    assert "was trained on a dataset of other patches" in other
    assert {path.name: path.read_bytes() for path in (folder / "run").iterdir() if path.is_file()} == before
    (folder / "run" / "checkpoint.pt").write_bytes(before["checkpoint.pt"][:500])
    assert "not the checkpoint that was saved, by its checksum" in refused(train(folder, "run"), capsys)
    assert (folder / "run" / "best.safetensors").read_bytes() == before["best.safetensors"]
