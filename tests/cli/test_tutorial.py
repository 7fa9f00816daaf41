"""The quickstart's path to a network of one's own: its TOML and its commands, shortened, on real slides."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.samples import REPOSITORY, SHARED_SLIDES
from wsisr.cli.app import app

SHORTENED = {
    "build-dataset": ["--most-patches", "3", "--jobs", "1"],
    "evaluate": ["--kernel", "area", "--level", "2", "--limit-px", "1", "--device", "cpu"],
    "train": ["--device", "cpu"],
    "upscale": ["--region", "300,300,96,64", "--device", "cpu"],
}
"""Command to what makes it one of seconds."""

FEWER = {"steps": 2, "validate_every": 2, "warm_up": 1}

SLIDES = {
    "a": "dev/colon-submucosal-lipoma_HE_x4572_y3048.svs",
    "b": "dev/molluscum-contagiosum_HE_x1778_y3302.svs",
    "c": "dev/molluscum-contagiosum_HE_x4572_y7366.svs",
    "held-out": "dev/metaplasia_HE_x5842_y762.svs",
}
"""Slides that the shipped weights were not trained on."""


def tutorial() -> tuple[str, list[list[str]]]:
    """The TOML below the heading, and the commands after it as words."""
    section = (REPOSITORY / "docs" / "quickstart.md").read_text(encoding="utf-8").partition("## Train on them")[2]
    toml, _, rest = section.partition("```toml\n")[2].partition("```")
    commands = rest.split("```")[1].strip()
    return toml, [shlex.split(line, comments=True) for line in commands.splitlines()]


def shortened(toml: str) -> str:
    for key, value in FEWER.items():
        toml, times = re.subn(rf"^{key} = \d+", f"{key} = {value}", toml, flags=re.MULTILINE)
        assert times == 1, key
    return toml.replace("[data]", "[data]\npatch_px = 16\nbatch = 2")


@pytest.mark.skipif(not SHARED_SLIDES.is_dir(), reason="the shared slides are not here")
def test_the_tutorial_in_the_quickstart_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slides").mkdir()
    for name, place in SLIDES.items():
        (tmp_path / "slides" / f"{name}.svs").symlink_to(SHARED_SLIDES / place)
    toml, commands = tutorial()
    (tmp_path / "mine.toml").write_text(shortened(toml))
    monkeypatch.chdir(tmp_path)
    outputs = []
    for program, name, *rest in commands:
        assert program == "wsisr"
        done = CliRunner(env={"COLUMNS": "200"}).invoke(app, [name, *rest, *SHORTENED[name]], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        outputs.append((name, done.stdout))
    assert [name for name, _ in outputs] == ["build-dataset", "evaluate", "train", "evaluate", "upscale"]
    before, after = (text for name, text in outputs if name == "evaluate")
    assert "mmsrnet-x2 x2" in before
    assert "mine x2" in after
    assert (tmp_path / "held-out.x2.ome.tif").is_file()
