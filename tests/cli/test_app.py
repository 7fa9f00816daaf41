"""The root of the command line: what it lists, what it loads, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from textwrap import dedent

import pytest
from typer.testing import CliRunner

from tests.support.pairs import write_slide
from wsisr import __version__
from wsisr.cli.app import app, print_errors_as_lines
from wsisr.cli.console import FILE_COLUMNS, console_width, print_message
from wsisr.cli.progress import format_rate
from wsisr.cli.summary import format_pace
from wsisr.errors import OutputError, SlideError, WsisrError
from wsisr.progress import Progress

COMMANDS = ["upscale", "preview", "info", "models", "finetune", "train", "evaluate", "build-dataset"]


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    command = [sys.executable, "-m", "wsisr", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run_script(text: str) -> subprocess.CompletedProcess[str]:
    """Run a few statements in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", dedent(text)], capture_output=True, text=True, check=False)


def test_help_lists_every_command_with_one_line_that_fits_a_terminal() -> None:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["--help"])
    rows = [line.strip("│| ").split(maxsplit=1) for line in result.output.splitlines()]
    help_of = {words[0]: words[1] for words in rows if len(words) > 1 and words[0] in COMMANDS}
    assert result.exit_code == 0
    assert list(help_of) == COMMANDS
    assert [command for command, text in help_of.items() if not text.endswith(".")] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"Usage: root {command}" in result.output


@pytest.mark.parametrize("command", [*COMMANDS, "verify", "export"])
def test_help_cuts_no_word_on_a_terminal_of_80_columns(command: str) -> None:
    assert "…" not in CliRunner(env={"COLUMNS": "80"}).invoke(app, [command, "--help"]).output


def test_help_loads_no_heavy_library() -> None:
    done = run_script(
        """
        import sys
        from wsisr.__main__ import main
        sys.argv = ["wsisr", "--help"]
        try:
            main()
        finally:
            print(*sys.modules, file=sys.stderr)
        """
    )
    assert done.returncode == 0
    assert not set(done.stderr.split()) & {"torch", "onnxruntime", "openslide", "tifffile", "zarr", "PIL", "numpy"}


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        ("upscale SLIDE --scale 2 -o OUT.tif", "torch"),
        ("preview SLIDE --region 0,0,64,64 -o OUT.png", "torch"),
        ("evaluate SLIDE --scale 2", "numpy"),
        ("train RECIPE -o OUT", "torch"),
        ("build-dataset simulated SLIDE -o OUT", "numpy"),
    ],
)
def test_the_first_line_comes_before_what_takes_seconds_to_load(arguments: str, heavy: str, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("[network]\nscale = 2\n")
    paths = {"SLIDE": write_slide(tmp_path / "a.tif"), "RECIPE": tmp_path / "run.toml", "OUT": tmp_path / "out"}
    words = arguments
    for name, path in paths.items():
        words = words.replace(name, str(path))
    done = run_script(
        f"""
        import sys

        class Stopping:
            def find_spec(self, name, *_):
                if name == {heavy!r}:
                    raise SystemExit(99)

        from wsisr.__main__ import main
        sys.meta_path.insert(0, Stopping())
        sys.argv = ["wsisr", *{words.split()!r}]
        main()
        """
    )
    assert done.returncode == 99, done.stderr
    assert done.stderr.startswith("wsisr: ")
    assert done.stderr.count("\n") == 1


def test_version_is_the_package_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.output == f"wsisr {__version__}\n"


def test_no_arguments_show_the_help() -> None:
    assert "upscale" in CliRunner().invoke(app, []).output


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["no-such-command"], ["info", "--no-such-option"]])
def test_wrong_usage_ends_with_two(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("wsisr: error: there is no ")
    assert result.stderr.count("\n") == 1


def test_bad_input_is_one_line_on_stderr_and_exit_code_one(tmp_path: Path) -> None:
    empty = tmp_path / "empty.svs"
    empty.touch()
    done = run_command("info", str(empty))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("wsisr: error: ")
    assert str(empty) in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "message", ["x" * 500, "a\nb", "[bold]a.svs[/bold]: is no slide", ":warning: a.svs", "a.svs:  two  spaces"]
)
@pytest.mark.parametrize("kind", [WsisrError, SlideError, OutputError])
def test_an_error_is_one_line_word_for_word(
    kind: type[WsisrError], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, print_errors_as_lines():
        raise kind(message)
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"wsisr: error: {message.replace(chr(10), chr(92) + 'n')}\n"


def test_each_note_of_an_error_is_a_line_more(capsys: pytest.CaptureFixture[str]) -> None:
    error = OutputError("run: is another one")
    error.add_note("schedule.steps: was 6, now 7")
    error.add_note("seed: was 0, now 1")
    with pytest.raises(SystemExit), print_errors_as_lines():
        raise error
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:] == ["wsisr: schedule.steps: was 6, now 7", "wsisr: seed: was 0, now 1"]


def test_an_interruption_is_one_line_and_exit_code_130() -> None:
    done = run_script(
        """
        import signal, sys
        from wsisr.__main__ import main
        from wsisr.cli.app import app
        app.command("wait")(lambda: signal.raise_signal(signal.SIGINT))
        sys.argv = ["wsisr", "wait"]
        main()
        """
    )
    assert (done.returncode, done.stderr) == (130, "wsisr: interrupted\n")


def test_an_interruption_during_the_imports_is_one_line_too() -> None:
    done = run_script(
        """
        import signal, sys

        class Interrupting:
            def find_spec(self, name, *_):
                if name == "typer":
                    signal.raise_signal(signal.SIGINT)

        from wsisr.__main__ import main
        sys.meta_path.insert(0, Interrupting())
        sys.argv = ["wsisr", "models"]
        main()
        """
    )
    assert (done.returncode, done.stderr) == (130, "wsisr: interrupted\n")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_after_the_command_ends_the_process_silently(name: str) -> None:
    done = run_script(
        f"""
        import atexit, signal, sys
        from wsisr.__main__ import main
        atexit.register(lambda: signal.raise_signal(signal.{name}))
        sys.argv = ["wsisr", "--version"]
        main()
        """
    )
    assert (done.returncode, done.stderr) == (-signal.Signals[name], "")


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), print_errors_as_lines():
        _ = 1 // 0


def test_a_message_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print_message("a pixel size of 2 um/px is outside the trained range")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "wsisr: a pixel size of 2 um/px is outside the trained range\n"


def test_one_is_singular_and_a_small_region_is_not_rounded_to_zero() -> None:
    assert format_rate(Progress("assemble", 1, 1), 1, "tile") == "1/1 tile, 1 tiles/s"
    assert format_rate(Progress("pyramid", 152, 152), 0.001, "tile") == "152/152 tiles"
    assert format_rate(Progress("assemble", 12, 40), 4, "tile") == "12/40 tiles, 3 tiles/s"
    assert format_pace(Progress("upscale", 4000, 20_000), 1).startswith("0.0040/0.0200 Mpx")


def test_output_to_a_file_is_not_folded_for_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console_width(StringIO()) == FILE_COLUMNS
    monkeypatch.setenv("COLUMNS", "80")
    assert console_width(StringIO()) is None


ENDING = """
import atexit, threading
from wsisr.__main__ import end_process
atexit.register(lambda: print("registered"))
go = threading.Event()
if {thread}:
    threading.Thread(target=lambda: (go.wait(), print("thread"))).start()
    threading.Timer(0.01, go.set).start()
print("not flushed", end="|")
ended = SystemExit({code!r})
end_process(ended)
raise ended
"""


@pytest.mark.parametrize(
    ("code", "thread", "status", "printed"),
    [
        (None, False, 0, "not flushed|registered\n"),
        (3, False, 3, "not flushed|registered\n"),
        (1, True, 1, "not flushed|thread\nregistered\n"),
        ("a text", False, 1, "not flushed|registered\n"),
    ],
)
def test_a_quick_end_loses_no_output_no_exit_function_and_no_thread(
    code: int | str | None, thread: bool, status: int, printed: str
) -> None:
    done = run_script(ENDING.format(code=code, thread=thread))
    assert (done.returncode, done.stdout) == (status, printed)
