"""The example notebook: its cells run one after the other, without Jupyter, on the demo slide."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.samples import CMU_SLIDE, REPOSITORY

NOTEBOOK = REPOSITORY / "docs" / "first-hour.ipynb"


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell, and return the value of its last line as a notebook shows it; None if that is no expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, NOTEBOOK.name, "exec"), names)
    if last is None:
        return None
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)


@pytest.mark.skipif(not CMU_SLIDE.exists(), reason="make data fetches the slide")
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").symlink_to(CMU_SLIDE.parent)
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    shown = [run_cell("".join(cell["source"]), names) for cell in cells if cell["cell_type"] == "code"]
    before_and_after, (size, mpp, _), pixels, shapes = shown[1:]
    assert isinstance(before_and_after, Image.Image)
    assert (str(size), round(mpp, 4), pixels.size) == ("512 x 384", 0.2495, (512, 384))
    assert shapes == ((96, 128, 3), (192, 256, 3))
    assert "upscale 100% |##############################|" in capsys.readouterr().err


def test_no_output_is_stored_with_the_notebook() -> None:
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
