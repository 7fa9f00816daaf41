"""The command line as a person runs it: in this process, or in one of its own where the process itself is tested."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from tempfile import TemporaryFile

import pytest

from wsisr.cli.app import app, print_errors_as_lines

Finished = subprocess.CompletedProcess[str]
"""Exit code and output of a command that has ended."""


def run_wsisr(*arguments: object) -> Finished:
    """Run `wsisr ...` in this process, which saves the seconds that a start takes.

    What C libraries write to the file descriptors of stdout and stderr is part of the output, as it is in a terminal.
    A bug keeps its traceback.
    """
    words = [str(argument) for argument in arguments]
    with (
        capture_descriptor(1) as read_stdout,
        capture_descriptor(2) as read_stderr,
        open(1, "w", closefd=False) as stdout,
        open(2, "w", closefd=False) as stderr,
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        with pytest.raises(SystemExit) as ended, print_errors_as_lines():
            app(words, prog_name="wsisr")
        stdout.flush()
        stderr.flush()
        assert isinstance(ended.value.code, int)
        return Finished(words, ended.value.code, read_stdout(), read_stderr())


@contextmanager
def capture_descriptor(number: int) -> Iterator[Callable[[], str]]:
    """Context: a file takes what is written to a file descriptor. Yield a function that returns its text."""
    before = os.dup(number)
    with TemporaryFile() as file:

        def read() -> str:
            file.seek(0)
            return file.read().decode()

        os.dup2(file.fileno(), number)
        try:
            yield read
        finally:
            os.dup2(before, number)
            os.close(before)


def run_wsisr_as_process(*arguments: object, largest_file: int | None = None) -> Finished:
    """Run `wsisr ...` in a process of its own, which may write no file of more bytes than that."""

    def set_limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    command = [sys.executable, "-m", "wsisr", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=set_limit)
