"""`wsisr finetune`: what cannot work is one line before the work, and the answer is a table and a verdict."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.support.pairs import write_slide
from wsisr.cli.app import app
from wsisr.cli.finetune import build_comparison_table
from wsisr.errors import DatasetError, OutputError
from wsisr.evaluation.comparison import InputComparison, MeanGain
from wsisr.finetuning.report import FinetuneReport
from wsisr.imaging.geometry import Size


def test_slides_of_one_case_are_refused_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    slides = [str(write_slide(tmp_path / f"a_{number}.ome.tif", Size(64, 64), ())) for number in (1, 2)]
    with pytest.raises(DatasetError, match="all slides are of one case, a: "):
        CliRunner().invoke(app, ["finetune", *slides, "--device", "cpu"], catch_exceptions=False)
    with pytest.raises(OutputError, match="mmsrnet-x2: names the model, and cannot be called so"):
        CliRunner().invoke(app, ["finetune", *slides, "-o", "mmsrnet-x2"], catch_exceptions=False)
    assert CliRunner().invoke(app, ["finetune", *slides, "--scale", "3"]).exit_code == 2
    assert CliRunner().invoke(app, ["finetune", *slides, "--minutes", "0"]).exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_1.ome.tif", "a_2.ome.tif"]


@pytest.mark.parametrize(("unit", "words"), [("case", "over 4 held-out cases"), ("region", "of other patients")])
def test_the_table_says_what_its_intervals_are_over(unit: str, words: str) -> None:
    gain = MeanGain(1.0, (0.5, 1.5))
    item = InputComparison("as stored", unit, 4, gain, gain, MeanGain(0.25, (0.125, 0.375)))
    report = FinetuneReport(Path("own/own.safetensors"), "mmsrnet-x2", 2, 9, 60.0, 5, ("a",), (item,))
    file = StringIO()
    Console(file=file, width=100).print(build_comparison_table(report))
    text = " ".join(file.getvalue().split())
    assert words in text
    assert "as stored +1.00 (+0.50 to +1.50) +1.00 (+0.50 to +1.50) +0.25 (+0.12 to +0.38)" in text
