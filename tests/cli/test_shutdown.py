"""Ctrl-C at any moment of a run: it stops between two steps, with exit code 130, and the same command resumes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tests.support.pairs import write_slide
from tests.support.patience import PATIENCE_S
from tests.support.samples import REPOSITORY
from wsisr import writing
from wsisr.cli import shutdown
from wsisr.cli.app import app
from wsisr.cli.shutdown import catch_stop_signals, stop_between_steps
from wsisr.dataset import builder
from wsisr.parallel.processes import STOP_SIGNALS
from wsisr.writing.workdir import folder as work_folder


@contextmanager
def interrupted_in_call(number: int, file: str) -> Iterator[None]:
    """Press Ctrl-C in the call of that number, from 1, of a function of a file or folder, in this thread."""
    calls = 0

    def watch(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        if event == "call" and frame.f_code.co_filename.startswith(file):
            calls += 1
            if calls == number:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)

    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(None)


def upscale_slide_in(folder: Path) -> Result:
    options = ["--scale", "2", "--model", "bicubic", "--tile-px", "128", "-o", str(folder / "out.tif")]
    return CliRunner().invoke(app, ["upscale", str(folder / "slide.tif"), *options])


def build_dataset_in(folder: Path) -> Result:
    return CliRunner().invoke(
        app,
        ["build-dataset", "pyramid", str(folder / "slide.tif"), "-o", str(folder / "pairs"), "--patch-px", "64"],
    )


def check_resuming(command: Callable[[Path], Result], output: str, call: int, file: str) -> None:
    """Interrupt a command and repeat it; a job that is done may be interrupted while it prints its result."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        slide = write_slide(folder / "slide.tif")
        with interrupted_in_call(call, file):
            result = command(folder)
        assert result.exit_code in (0, 130), result.output
        if not (folder / output).exists():
            assert result.exit_code == 130
            assert {path for path in folder.iterdir() if not path.name.endswith(".wsisr-part")} == {slide}
            assert command(folder).exit_code == 0
        assert set(folder.iterdir()) == {slide, folder / output}


@settings(max_examples=20)
@given(st.integers(1, 700))
def test_ctrl_c_at_any_call_leaves_a_whole_output_or_none(call: int) -> None:
    check_resuming(upscale_slide_in, "out.tif", call, str(Path(writing.__file__).parent))


@pytest.mark.parametrize("call", range(1, 8))
def test_ctrl_c_while_the_work_folder_is_taken_or_released_breaks_nothing(call: int) -> None:
    check_resuming(upscale_slide_in, "out.tif", call, work_folder.__file__)


@settings(max_examples=10)
@given(st.integers(1, 700))
def test_ctrl_c_at_any_call_leaves_a_whole_dataset_or_none(call: int) -> None:
    check_resuming(build_dataset_in, "pairs", call, builder.__file__)


@pytest.mark.parametrize(
    ("name", "read"), [("SIGINT", 1), ("SIGINT", 2), ("SIGINT", 20), ("SIGTERM", 2), ("SIGHUP", 20)]
)
def test_an_interrupted_program_says_so_and_exits_with_130(tmp_path: Path, name: str, read: int) -> None:
    program = f"""
        import signal, sys
        # Under nohup or a script's &, ignored signals are inherited, and stay ignored.
        signal.signal(signal.{name}, signal.default_int_handler if {name!r} == "SIGINT" else signal.SIG_DFL)
        import wsisr.slides
        from tests.support.samples import InMemorySlide, make_noise
        from wsisr.__main__ import main
        from wsisr.imaging.geometry import Size

        class Interrupting(InMemorySlide):
            reads = 0

            def read(self, box, level):
                self.reads += 1
                if self.reads == {read}:
                    signal.raise_signal(signal.{name})
                return super().read(box, level)

        wsisr.slides.open_slide = lambda *_, **__: Interrupting(make_noise(Size(128, 64 * 400)))
        sys.argv = "wsisr upscale a.svs --scale 4 --model bicubic --tile-px 64 -o".split()
        sys.argv.append({str(tmp_path / "o.tif")!r})
        main()
    """
    command = [sys.executable, "-c", dedent(program)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    announced = "wsisr: stopping after the current tiles; press Ctrl-C again to stop at once"
    stopped = "wsisr: stopped; what is finished is kept, and the same command goes on from there"
    assert done.stderr.splitlines()[1:] == [announced, stopped]
    assert [path.name for path in tmp_path.iterdir()] == ["o.tif.wsisr-part"]


def test_the_second_ctrl_c_interrupts_at_once_and_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGINT)
    with catch_stop_signals() as stop:
        assert not stop.is_set()
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    "send",
    [
        "os.kill(os.getpid(), {})",  # to the process, as a terminal does
        "signal.raise_signal({})",  # to this thread, which does not wake the main one
    ],
)
def test_the_second_ctrl_c_waits_for_no_tile(tmp_path: Path, send: str) -> None:
    program = f"""
        import os, signal, sys, threading
        import wsisr.slides
        from tests.support.samples import InMemorySlide, make_noise
        from wsisr.__main__ import main
        from wsisr.imaging.geometry import Size

        class Endless(InMemorySlide):
            reads = 0

            def read(self, box, level):
                self.reads += 1
                if self.reads == 5:
                    {send.format("signal.SIGINT")}
                    {send.format("signal.SIGTERM")}  # two of one kind at once would be heard as one
                    threading.Event().wait()
                return super().read(box, level)

        wsisr.slides.open_slide = lambda *_, **__: Endless(make_noise(Size(128, 64 * 20)))
        sys.argv = "wsisr upscale a.svs --scale 4 --model bicubic --tile-px 64 -o".split()
        sys.argv.append({str(tmp_path / "o.tif")!r})
        main()
    """
    command = [sys.executable, "-c", dedent(program)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 130, done.stderr
    assert "interrupted at once; what is finished is kept" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["o.tif.wsisr-part"]


@pytest.mark.parametrize("call", [1, 2])
def test_a_ctrl_c_during_the_handler_of_the_first_counts_as_the_second(call: int) -> None:
    with catch_stop_signals(), pytest.raises(KeyboardInterrupt), interrupted_in_call(call, shutdown.__file__):
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("ignored", [False, True])
def test_the_end_of_the_terminal_is_one_request_however_often_it_is_sent_and_none_under_nohup(ignored: bool) -> None:
    program = f"""
        import signal
        # Under nohup it is inherited as ignored.
        signal.signal(signal.SIGHUP, signal.SIG_IGN if {ignored} else signal.SIG_DFL)
        from wsisr.cli.shutdown import catch_stop_signals

        with catch_stop_signals(end_message="interrupted") as stop:
            for _ in range(3):
                signal.raise_signal(signal.SIGHUP)
        assert stop.is_set() is not {ignored}
    """
    command = [sys.executable, "-c", dedent(program)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (0, not ignored)


def test_the_second_ctrl_c_ends_a_program_whose_stderr_is_a_full_pipe() -> None:
    program = """
        import os, signal, threading
        from contextlib import suppress
        from wsisr.cli.shutdown import catch_stop_signals

        os.set_blocking(2, False)
        with suppress(BlockingIOError):
            while True:
                os.write(2, bytes(2**12))  # until the pipe is full
        os.set_blocking(2, True)
        with catch_stop_signals(end_message="interrupted"):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            threading.Event().wait()
    """
    command = [sys.executable, "-c", dedent(program)]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE) as process:
        assert process.wait(timeout=PATIENCE_S) == 130


def test_handlers_and_wakeup_descriptor_are_restored() -> None:
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    handlers = [signal.getsignal(number) for number in STOP_SIGNALS]
    with catch_stop_signals(end_message="interrupted"):
        assert [signal.getsignal(number) for number in STOP_SIGNALS] != handlers
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == handlers
    assert signal.set_wakeup_fd(before) == before


def test_a_job_whose_last_step_is_running_is_done_not_interrupted() -> None:
    stop = threading.Event()
    for step in stop_between_steps(range(3), stop):
        if step == 2:
            stop.set()
    assert step == 2
