"""`wsisr upscale --config` and `--print-config`: every option by its name, and the command line wins."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tests.support.samples import make_noise, write_tiff
from wsisr.cli.app import app
from wsisr.cli.run_config import format_toml_value
from wsisr.errors import ConfigError
from wsisr.imaging.geometry import Size

PITCHED = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER", "photometric": "rgb", "metadata": None}


def run(*words: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["upscale", *map(str, words)])


def read_config(*words: object) -> dict[str, Any]:
    printed = run(*words, "--print-config")
    assert printed.exit_code == 0
    return tomllib.loads(printed.stdout)


def write_config(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text)
    return path


def test_what_is_printed_is_the_same_run(tmp_path: Path) -> None:
    options = ("a b.svs", "--scale", 2, "--region", "1,2,30,40", "--tissue", 'odd "name".png', "--overwrite", "-q")
    printed = run(*options, "--print-config").stdout
    again = run("--config", write_config(tmp_path, printed), "--print-config").stdout
    assert again == printed
    config = tomllib.loads(printed)
    assert (config["slides"], config["scale"], config["region"]) == (["a b.svs"], 2, "1,2,30,40")
    assert (config["overwrite"], config["quality"], config["tissue"]) == (True, 90, 'odd "name".png')


def test_every_option_is_printed() -> None:
    lines = run("--print-config").stdout.splitlines()
    names = {line.removeprefix("# ").split(" = ")[0] for line in lines}
    options = run("--help").stdout
    assert all(f"--{name} " in options for name in names - {"slides"})
    assert {"target-mpp", "report", "no-verify", "memory", "shard"} <= names


def test_the_command_line_wins_and_a_box_may_be_a_list(tmp_path: Path) -> None:
    config = write_config(tmp_path, 'slides = "a.svs"\nscale = 2\nregion = [1, 2, 30, 40]\nquality = 70\n')
    merged = read_config("b.svs", "--config", config, "--quality", 80)
    assert (merged["slides"], merged["scale"], merged["region"], merged["quality"]) == (
        ["b.svs"],
        2,
        "1,2,30,40",
        80,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scales = 2", "unknown key 'scales'; known: slides, scale, "),
        ("slides = [1]", "not a list"),
        ("[x]", "unknown"),
    ],
)
def test_a_config_that_cannot_be_meant_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    refused = run("--config", write_config(tmp_path, text))
    assert isinstance(refused.exception, ConfigError)
    assert message in str(refused.exception)


def test_a_value_of_another_kind_is_wrong_usage(tmp_path: Path) -> None:
    refused = run("a.svs", "--config", write_config(tmp_path, "quality = 'good'"))
    assert refused.exit_code == 2
    assert "--quality" in refused.stderr


def test_the_report_holds_the_configuration_that_repeats_the_run(tmp_path: Path) -> None:
    slide = write_tiff(tmp_path / "a.tif", make_noise(Size(60, 50)), **PITCHED)
    report, output = tmp_path / "run.json", tmp_path / "out.tif"
    assert run(slide, "--scale", 2, "--model", "bicubic", "-o", output, "--report", report).exit_code == 0
    configuration = json.loads(report.read_bytes())["run"]["configuration"]
    assert configuration == {
        "slides": [str(slide)],
        "scale": 2,
        "output": str(output),
        "model": "bicubic",
        "report": str(report),
    }
    pixels = output.read_bytes()
    output.unlink()
    text = "\n".join(f"{key} = {format_toml_value(value)}" for key, value in configuration.items())
    assert run("--config", write_config(tmp_path, text)).exit_code == 0
    assert output.read_bytes() == pixels


@given(
    st.one_of(st.text(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False))
)
def test_a_value_is_read_back_as_it_was(value: Any) -> None:
    assert tomllib.loads(f"key = {format_toml_value(value)}")["key"] == value
