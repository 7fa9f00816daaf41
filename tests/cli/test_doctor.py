"""`wsisr doctor`: the facts of the machine, and a GPU that stands idle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from wsisr.cli.app import app
from wsisr.cli.speed_tests import measure_network
from wsisr.models.torch_build import describe_unused_gpu
from wsisr.parallel.cpu import count_usable_cores


def test_facts_are_json_for_programs_and_a_table_for_people(tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["doctor", "--json", "--no-speed", "--folder", str(tmp_path)])
    facts = json.loads(printed.stdout)
    assert (facts["schema"], facts["speed"], facts["disk"]["folder"]) == (1, None, str(tmp_path))
    assert facts["cpu"]["cores"] == count_usable_cores()
    assert facts["torch"]["precision"] in ("bf16", "fp16", "fp32")
    assert facts["readers"]["codecs"]["jpeg8"]
    assert facts["memory"]["total"] > 10**8
    table = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["doctor", "--no-speed"]).stdout
    for text in (facts["versions"]["torch"], facts["cpu"]["name"], facts["readers"]["openslide"], "other build"):
        assert text in table
    assert list(tmp_path.iterdir()) == []


def test_a_speed_test_tells_what_a_slide_would_take(tmp_path: Path) -> None:
    speed = measure_network(0.0)
    pixels = 4 * 30_000**2 * 0.4
    assert speed["typical_slide_seconds"] == pytest.approx(pixels / speed["output_pixels_per_second"], rel=0.01)
    printed = CliRunner().invoke(app, ["doctor", "--folder", str(tmp_path / "none")])
    assert printed.exit_code != 0


@pytest.mark.parametrize(
    ("has_gpu", "version", "warned"),
    [(True, "2.13.0+cpu", True), (True, "2.13.0", False), (False, "2.13.0+cpu", False), (True, None, False)],
)
def test_a_gpu_that_torch_cannot_use_is_said(
    has_gpu: bool, version: str | None, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    warning = describe_unused_gpu(has_gpu=has_gpu, torch_version=version)
    assert (warning is not None) == warned
    if warning:
        assert "pip install" in warning
