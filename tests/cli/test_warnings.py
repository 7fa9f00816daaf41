"""Warnings of an upscaler are printed by every command that uses it, each once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import wsisr.evaluation.tasks
import wsisr.models.loading
from tests.support.samples import make_noise, write_tiff
from wsisr.cli.app import app
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import RgbBatch
from wsisr.models.upscaler import UpscalerInfo

SAID = "warning: not enough memory"


class Modest:
    """Nearest neighbour that has something to say once it has worked."""

    info = UpscalerInfo("modest", scale=2, receptive_field=0, hardware="nowhere")

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        if not self.warnings:
            self.warnings.append("not enough memory")
        return tiles.repeat(2, axis=1).repeat(2, axis=2)


@pytest.mark.parametrize("command", ["upscale", "preview", "evaluate"])
def test_a_warning_is_printed_once(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (wsisr.models.loading, wsisr.evaluation.tasks):
        monkeypatch.setattr(module, "load_upscaler", lambda *_, **__: Modest())
    pitch: dict[str, Any] = {"resolution": (20000, 20000), "resolutionunit": 3}
    slide = write_tiff(tmp_path / "slide.tif", make_noise(Size(300, 200)), **pitch)
    options = {
        "upscale": ["--tissue", "none", "-o", str(tmp_path / "out.tif")],
        "preview": ["--region", "10,10,60,50", "-o", str(tmp_path / "look.png")],
        "evaluate": ["--level", "0"],
    }
    done = CliRunner().invoke(app, [command, str(slide), "--scale", "2", *options[command]], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert done.output.count(SAID) == 1
