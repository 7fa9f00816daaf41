"""Help, exit codes and completion: what a person finds out about the command line without reading a page."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from tests.support.pairs import write_slide
from tests.support.samples import REPOSITORY
from wsisr.cli.app import app, print_errors_as_lines
from wsisr.cli.exit_codes import EXIT_CODES, EXIT_USAGE

COLUMNS, ROWS = 80, 24

TEN_OPTIONS = ("scale", "target-mpp", "output", "region", "mpp", "model", "device", "tissue", "overwrite", "dry-run")
"""What most people need of `wsisr upscale`."""

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def list_commands() -> Iterator[tuple[str, ...]]:
    """The words of each command behind `wsisr`, groups included."""
    yield ()
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        yield (name,)
        for inner in getattr(command, "commands", {}):
            yield name, inner


def list_parameters(command: tuple[str, ...]) -> list[typer.core.TyperOption]:
    """The options of a command, without those that Typer adds."""
    found = typer.main.get_command(app)
    for name in command:
        found = found.commands[name]  # type: ignore[attr-defined]
    return [param for param in found.params if isinstance(param, typer.core.TyperOption)]


def run_in_terminal(*arguments: str) -> str:
    """What a terminal of 80 columns shows of a command that may not use colours; lines end with a line feed."""
    terminal, program_end = pty.openpty()
    fcntl.ioctl(program_end, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen(
        [sys.executable, "-m", "wsisr", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=program_end,
        stderr=program_end,
        env=environment | {"NO_COLOR": "1", "TERM": "xterm-256color"},
        cwd=REPOSITORY,
    ):
        os.close(program_end)
        received = b"".join(iter(lambda: read_terminal(terminal), b""))
    os.close(terminal)
    return received.decode().replace("\r\n", "\n")


def read_terminal(terminal: int) -> bytes:
    try:
        return os.read(terminal, 2**16)
    except OSError:  # Linux: the program has ended
        return b""


def longest_line(text: str) -> int:
    """Columns of the longest line; a carriage return starts a line anew."""
    return max(len(line) for line in re.split(r"[\r\n]", CONTROL.sub("", text)))


def test_the_options_that_most_people_need_are_on_the_first_screen() -> None:
    help_text = CliRunner(env={"COLUMNS": str(COLUMNS)}).invoke(app, ["upscale", "--help"]).output
    first_screen = "\n".join(help_text.splitlines()[: ROWS - 1])
    assert [name for name in TEN_OPTIONS if f"--{name} " not in first_screen] == []


@pytest.mark.parametrize("command", list(list_commands()), ids=lambda words: " ".join(words) or "wsisr")
def test_help_fits_80_columns_and_a_pipe(command: tuple[str, ...]) -> None:
    result = CliRunner(env={"COLUMNS": str(COLUMNS), "NO_COLOR": "1"}).invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert longest_line(result.output) <= COLUMNS
    assert "\x1b" not in result.output
    assert "…" not in result.output
    assert not re.search(r"<(bool|path|list|str|int|float)", result.output)


@pytest.mark.parametrize("command", list(list_commands()), ids=lambda words: " ".join(words) or "wsisr")
def test_an_option_is_explained_by_a_sentence_and_shows_no_type(command: tuple[str, ...]) -> None:
    for option in list_parameters(command):
        if "completion" not in str(option.name):  # Typer's own
            assert option.help, option.name
            assert option.help.endswith("."), option.name
            assert option.metavar is not None, option.name


def test_h_is_help() -> None:
    runner = CliRunner()
    for command in list_commands():
        assert runner.invoke(app, [*command, "-h"]).output == runner.invoke(app, [*command, "--help"]).output


@pytest.mark.parametrize("arguments", ["upscale --help", "models", "info SLIDE", "preview --zoom 3"])
def test_a_terminal_of_80_columns_without_colours_looks_right(arguments: str, tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "slide.tif")
    shown = run_in_terminal(*arguments.replace("SLIDE", str(slide)).split())
    assert longest_line(shown) <= COLUMNS
    assert not COLOUR.search(shown)


def test_progress_and_summary_look_right_in_80_columns_without_colours(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "slide.tif")
    shown = run_in_terminal("upscale", str(slide), "--scale", "2", "--model", "bicubic", "-o", str(tmp_path / "o.tif"))
    assert "100%" in shown
    drawn = [line for line in re.split(r"[\r\n]", CONTROL.sub("", shown)) if not line.startswith("wsisr: ")]
    assert max(map(len, drawn)) <= COLUMNS
    assert not COLOUR.search(shown)


@pytest.mark.parametrize(
    "arguments",
    [
        "info none.svs",
        "verify none.tif",
        "preview none.svs --region 0,0,64,64 -o look.png",
        "view none.svs",
        "view SLIDE --annotations none.geojson",
        "upscale none.svs --scale 2",
        "upscale SLIDE --scale 2 --model none",
        "upscale SLIDE --scale 2 --model none.safetensors",
        "upscale SLIDE --scale 2 --model none.onnx",
        "upscale SLIDE --scale 2 --tissue none.png",
        "upscale SLIDE --scale 2 --tissue none.geojson",
        "evaluate none.svs --scale 2",
        "export none -o model.onnx",
        "train none.toml -o run",
        "build-dataset pyramid none.svs -o pairs",
        "build-dataset pyramid SLIDE --cases none.csv -o pairs",
        "build-dataset simulated SLIDE --degradation none.toml -o pairs",
        "build-dataset captured none.svs SLIDE -o pairs",
        "build-dataset info none",
        "build-dataset report none",
        "build-dataset pack none -o pairs",
    ],
)
def test_a_name_that_does_not_exist_is_one_line_and_a_usage_error(
    arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    slide = write_slide(tmp_path / "slide.tif")
    with pytest.raises(SystemExit) as ended, print_errors_as_lines():
        app(arguments.replace("SLIDE", slide.name).split(), prog_name="wsisr")
    shown = capsys.readouterr().err
    assert ended.value.code == EXIT_USAGE, shown
    (line,) = (line for line in shown.splitlines() if " is to be " not in line)
    assert line.startswith("wsisr: error: none") or "no model is called 'none'" in line
    assert [path.name for path in tmp_path.iterdir()] == ["slide.tif"]


def test_an_exported_model_is_never_proposed_to_be_a_filter() -> None:
    refused = CliRunner().invoke(app, ["export", "none", "-o", "model.onnx"]).exception
    assert "choose from masrgan-x2" in str(refused)
    assert "bicubic" not in str(refused)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("upscale", "SLIDE is missing; wsisr upscale --help explains it"),
        ("evaluate a.svs", "--scale 2|4 is missing; wsisr evaluate --help explains it"),
        ("upscale a.svs --scale two", "--scale: must be a whole number, not two"),
        ("upscale a.svs --mpp small", "--mpp: must be a number, not small"),
        ("upscale a.svs --batch 0", "--batch: must be at least 1, not 0"),
        ("evaluate a.svs --scale 2 --quality 900", "--quality: must be at most 100, not 900"),
        ("evaluate a.svs --scale 2 --kernel box", "--kernel: there is no box; choose area, bicubic or lanczos"),
        ("upscale a.svs --scale", "--scale needs a value: --scale 2|4; wsisr upscale --help explains it"),
        ("build-dataset captured a b -o c --mpp 1", "--mpp needs 2 values: --mpp LOW HIGH; "),
        ("upscale a.svs --overwrite=yes", "--overwrite takes no value; wsisr upscale --help explains it"),
        ("upscale a.svs --scal 2", "there is no option --scal; did you mean --scale or --stage?"),
        ("upscale a.svs -scale 2", "there is no option -scale; did you mean --scale?"),
        ("upscale a.svs -z", "there is no option -z; wsisr upscale --help lists all"),
        ("models a b", "too many arguments: a b; wsisr models --help shows how many there are"),
        ("upscal a.svs", "there is no command upscal; did you mean upscale?"),
        ("build-dataset pyramids a.svs", "there is no command pyramids; did you mean pyramid?"),
        ("build-dataset tests", "there is no command tests; give pyramid or "),
        ("README.md", "there is no command README.md; to enlarge this file: wsisr upscale README.md --scale 2"),
        ("upscale a.svs --scale 3", "--scale: choose 2 or 4"),
    ],
)
def test_wrong_usage_is_one_line_in_the_words_of_wsisr(arguments: str, message: str) -> None:
    result = CliRunner().invoke(app, arguments.split())
    assert result.exit_code == EXIT_USAGE
    assert result.stdout == ""
    assert result.stderr.startswith(f"wsisr: error: {message}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("upscale SLIDE --scale 2 --mpp 0", "--mpp: no slide has pixels of 0 um; give 0.01 to 20 um/px"),
        ("upscale SLIDE --scale 2 --tile-px 100", "--tile-px: must be a multiple of 128 at scale 2, not 100"),
        ("upscale SLIDE --scale 2 --memory 0", "--memory: 0 GB is too little for any slide"),
        ("upscale SLIDE --scale 2 -o x.jpg", "x.jpg: JPEG, which would lose detail again, is not written"),
        (
            "upscale SLIDE --scale 2 --layout dicom -o x.tif",
            "x.tif: its suffix stands for another layout",
        ),
        ("upscale SLIDE --scale 2 --keep-label -o x.zarr", ".ome.zarr has no place for label and macro images"),
        ("upscale SLIDE --scale 2 -o none/x.tif", "none/x.tif: there is no folder none; create it first"),
        ("upscale SLIDE --scale 2 --work-dir none", "none: no folder for work in progress; create it first"),
        ("upscale SLIDE --scale 4 --model masrgan-x2", "--model: masrgan-x2 enlarges by 2, not by 4"),
        ("upscale SLIDE --scale 2 --model bicubic --perception 1", "--perception: bicubic has no GAN variant"),
        ("upscale SLIDE --scale 2 --model bicubic --device cuda", "--device: bicubic runs on the CPU only"),
        ("upscale SLIDE --target-mpp nan", "--target-mpp: no slide has pixels of nan um"),
        ("upscale SLIDE --scale 2 --source-mpp 0", "--source-mpp: no slide has pixels of 0 um"),
        ("upscale SLIDE --scale 2 --region 0,0,-5,9", "--region: width and height must be above 0"),
        ("upscale SLIDE --config wrong.toml", "wrong.toml: unknown key 'scal'"),
        ("preview SLIDE --mpp 0", "--mpp: no slide has pixels of 0 um"),
        ("preview SLIDE -o x.tif", "x.tif: its name must end in .png"),
        ("preview SLIDE --scale 4 --model masrgan-x2", "--model: masrgan-x2 enlarges by 2, not by 4"),
        ("evaluate SLIDE --scale 2 --json x.txt", "x.txt: its name must end in .json"),
        ("evaluate SLIDE --scale 2 --case-pattern (", "'(' is not a regular expression"),
        ("export masrgan-x2 -o x.txt", "x.txt: its name must end in .onnx"),
        ("train wrong.toml -o run", "wrong.toml: unknown key 'scal'"),
    ],
)
def test_what_no_slide_could_change_is_wrong_usage_for_one_slide_too(
    arguments: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_slide(tmp_path / "slide.tif")
    (tmp_path / "wrong.toml").write_text("scal = 2\n")
    with pytest.raises(SystemExit) as ended, print_errors_as_lines():
        app(arguments.replace("SLIDE", "slide.tif").split(), prog_name="wsisr")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("wsisr: error: ")]
    assert (ended.value.code, len(lines)) == (EXIT_USAGE, 1)
    assert lines[0].startswith(f"wsisr: error: {message}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["slide.tif", "wrong.toml"]


def test_a_bench_that_does_not_exist_is_a_usage_error_too() -> None:
    command = [sys.executable, "-m", "tests.bench", "none"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_USAGE
    assert "no bench is called none" in done.stderr


def test_exit_codes_are_listed_by_help_and_explained_in_the_docs() -> None:
    help_text = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    page = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning}" in help_text
        assert f"| {code} |" in page


@pytest.mark.parametrize(
    ("typed", "proposed"),
    [
        ("wsisr ver", ["verify"]),
        ("wsisr upscale --code", ["--codec"]),
        ("wsisr upscale --icc ", ["keep", "srgb"]),
        ("wsisr upscale --tissue ", ["auto", "none"]),
        ("wsisr evaluate --kernel a", ["area"]),
        ("wsisr preview --model mmsrnet-x2", ["mmsrnet-x2", "mmsrnet-x2-gan"]),
    ],
)
def test_completion_knows_commands_options_and_values(
    typed: str, proposed: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = typed.split(" ")
    monkeypatch.setenv("_WSISR_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    with pytest.raises(SystemExit):
        app(prog_name="wsisr")
    assert sorted(capsys.readouterr().out.split()) == proposed


def test_models_as_json_hold_what_the_table_shows() -> None:
    runner = CliRunner(env={"COLUMNS": "200"})
    facts = json.loads(runner.invoke(app, ["models", "--json"]).output)
    table = runner.invoke(app, ["models"]).output
    assert {model["scale"] for model in facts["models"]} == {2, 4}
    for model in facts["models"]:
        assert f"{model['name']} " in table
        assert model["purpose"] in table
        assert Path(model["path"]).stat().st_size == model["bytes"]
    assert [model["name"] for model in facts["filters"]] == ["bicubic", "lanczos"]
