"""What leaves for the terminal: no control character of a stranger; and streams that are full, closed or unread."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import unicodedata
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.panel import Panel
from rich.table import Table

from tests.support.pairs import write_slide
from tests.support.samples import REPOSITORY
from wsisr.cli.console import EscapingConsole, literal_text, print_json, print_line, print_message
from wsisr.cli.control_characters import escape_controls
from wsisr.cli.exit_codes import EXIT_FAILED, EXIT_READER_LEFT, EXIT_USAGE
from wsisr.cli.streams import SafeStream, print_library_warning

STEERING = [
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x9b31m",
    "a\nb",
    "a\r",
    "\x7f",
    "\u202egnp.exe",
    "\u2028",
    "\udcff",
    "\ufeff",
]

DANGEROUS = {"Cc", "Cs", "Zl", "Zp"}
BIDI_CONTROLS = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}


def is_harmless(text: str) -> bool:
    """Whether a terminal shows the text, and only shows it."""
    return not any(
        unicodedata.category(character) in DANGEROUS or unicodedata.bidirectional(character) in BIDI_CONTROLS
        for character in text
    )


texts = st.one_of(st.text(), st.sampled_from(STEERING), st.lists(st.sampled_from(STEERING)).map("".join))


@given(texts)
@example("Gewebe Größe 0.25 µm/px, 组织 ‌بافت 👩‍🔬")
def test_escaped_text_is_harmless_and_ordinary_text_unchanged(text: str) -> None:
    escaped = escape_controls(text)
    assert is_harmless(escaped)
    assert escape_controls(escaped) == escaped
    visible = "".join(character for character in text if escape_controls(character) == character)
    assert all(
        unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in set(text) - set(visible)
    )


@settings(max_examples=30)
@given(texts)
def test_a_table_is_harmless_whatever_stands_in_it(text: str) -> None:
    console = EscapingConsole(width=60)
    console.file = StringIO()
    table = Table(title=literal_text(text))
    table.add_column(text)
    table.add_row(literal_text(text))
    table.add_row(text)
    console.print(Panel(table, title=literal_text(text)), text)
    assert is_harmless(console.file.getvalue().replace("\n", ""))


@pytest.mark.parametrize("text", STEERING)
def test_lines_are_one_line_and_json_stays_json(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_line(text)
    print_json({text: [text]})
    print_message(text)
    shown = capsys.readouterr()
    line, document = shown.out.splitlines()
    assert line == escape_controls(text)
    assert json.loads(document) == {text: [text]}
    assert shown.err == f"wsisr: {escape_controls(text)}\n"
    assert is_harmless((shown.out + shown.err).replace("\n", ""))


def test_what_libraries_print_is_escaped_and_what_rich_draws_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    written = StringIO()
    stream = SafeStream(written, lambda _error: None)
    monkeypatch.setattr(sys, "stderr", stream)
    logging.getLogger("library").warning("the tag says \x1b]0;owned\x07")
    sys.stderr.writelines(["a\x9b31m", "\n"])
    assert is_harmless(written.getvalue().replace("\n", ""))
    stream.rich_proxied_file.write("\x1b[2K")
    assert written.getvalue().endswith("\x1b[2K")


def test_a_warning_of_a_library_is_one_line_that_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    warning = UserWarning("The tag \x1b[31m\nis odd.")
    print_library_warning(warning, UserWarning, "/usr/lib/site-packages/tifffile/tifffile.py", 7)
    assert capsys.readouterr().err == "wsisr: warning from tifffile: The tag \\u001b[31m is odd.\n"


def run_in_shell(command: str, folder: Path) -> tuple[int, str]:
    """Run `wsisr ...` as a shell would; return its exit code and what arrived on stderr."""
    full_command = command.replace("wsisr", f'"{sys.executable}" -m wsisr')
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", full_command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("command", "code", "complaint"),
    [
        ("wsisr models > /dev/full", EXIT_FAILED, "No space left on device"),
        ("wsisr --version > /dev/full", EXIT_FAILED, "No space left on device"),
        ("wsisr models --json >&-", EXIT_FAILED, "it is closed"),
        ("wsisr models > /dev/full 2>&1", EXIT_FAILED, ""),
        ("wsisr models | true", EXIT_READER_LEFT, ""),
        ("wsisr --help | true", EXIT_READER_LEFT, ""),
        ("wsisr nonsense 2> /dev/full", EXIT_USAGE, ""),
        ("wsisr nonsense >&- 2>&-", EXIT_USAGE, ""),
    ],
)
def test_a_result_that_cannot_be_printed_is_an_error_without_traceback(
    command: str, code: int, complaint: str, tmp_path: Path
) -> None:
    ended_with, shown = run_in_shell(command, tmp_path)
    assert ended_with == code
    assert complaint in shown
    assert shown.count("\n") == bool(complaint)


@pytest.mark.parametrize("redirection", ["> /dev/full 2>&1 --log /dev/full", ">&- 2>&-", "2>&1 | true"])
def test_a_slide_is_done_though_its_log_is_lost(redirection: str, tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.tif")
    command = f"wsisr upscale {slide.name} --scale 2 --model bicubic -o o.tif {redirection}"
    assert run_in_shell(command, tmp_path) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {"a.tif", "o.tif"}


def test_scores_are_written_though_their_table_cannot_be_printed(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.tif")
    command = f"wsisr evaluate {slide.name} --scale 2 --model bicubic --json scores.json -q > /dev/full"
    code, complaint = run_in_shell(command, tmp_path)
    assert code == EXIT_FAILED
    assert complaint.startswith("wsisr: error: the result could not be written to the standard output")
    assert json.loads((tmp_path / "scores.json").read_bytes())["model"] == "bicubic"
