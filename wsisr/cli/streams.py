"""Standard streams that may be full, closed or read by nobody, and that send no foreign control character.

A disk that is full, an ssh connection that has ended, and `| head` must not cost a night's work: what is written to
stderr may always get lost. What is written to stdout may get lost where a command's result is files
(`allow_lost_output`). Where the text is the result, a command that cannot write it ends: with a line and exit code 1,
or silently where the reader of a pipe has left.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import TextIO

from wsisr.cli.console import print_message
from wsisr.cli.control_characters import escape_controls
from wsisr.cli.exit_codes import EXIT_FAILED, EXIT_READER_LEFT
from wsisr.errors import describe_error

LostOutput = Callable[[OSError], None]
"""Called with the error of a write. May raise `SystemExit`."""

STDOUT, STDERR = 1, 2
"""File descriptors of the standard streams."""


class SafeStream:
    """A stream of text whose writes raise no error; control characters are escaped, but for line feeds and tabs.

    `rich_proxied_file` is the same stream without escaping: rich writes there. What rich writes has been escaped by the
    console, and its own control characters draw bars and colours.
    """

    def __init__(self, stream: TextIO, on_lost: LostOutput, *, escape: bool = True) -> None:
        self._stream = stream
        self._on_lost = on_lost
        self._escape = escape
        if escape:
            self.rich_proxied_file = SafeStream(stream, on_lost, escape=False)

    def write(self, text: str) -> int:
        try:
            self._stream.write(escape_controls(text, keep_lines=True) if self._escape else text)
        except OSError as error:
            self._on_lost(error)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._on_lost(error)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


class _ClosedStream(StringIO):
    """What stands for a stream that was closed when the program began."""

    def write(self, _text: str) -> int:
        raise OSError(errno.EBADF, "it is closed")


class _StandardOutput:
    """What is done if stdout cannot be written."""

    def __init__(self) -> None:
        self.may_be_lost = False
        self._is_lost = False

    def lose(self, error: OSError) -> None:
        """Drop all text from here on; end the command if its result is the text."""
        if self._is_lost:
            return
        self._is_lost = True
        discard_output(STDOUT)
        reader_left = error.errno == errno.EPIPE
        if not reader_left:
            kind, noun = ("warning", "summary") if self.may_be_lost else ("error", "result")
            reason = error.strerror or str(error)
            sys.stderr.write(f"wsisr: {kind}: the {noun} could not be written to the standard output ({reason})\n")
        if not self.may_be_lost:
            raise SystemExit(EXIT_READER_LEFT if reader_left else EXIT_FAILED)


_standard_output = _StandardOutput()


def allow_lost_output() -> None:
    """Let the command go on if stdout cannot be written, because its result is files."""
    _standard_output.may_be_lost = True


def guard_streams() -> None:
    """Put a `SafeStream` in place of stdout and of stderr, and print warnings of libraries as one line each.

    For a process of its own, never inside a library call.
    """
    warnings.showwarning = print_library_warning
    for descriptor, name, on_lost in ((STDOUT, "stdout", _standard_output.lose), (STDERR, "stderr", _ignore)):
        stream = getattr(sys, name)
        if stream is None:
            discard_output(descriptor)  # no other file may get the descriptor, because libraries write there
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # the encoding may lack a letter of a slide's name
        if not isinstance(stream, SafeStream):
            setattr(sys, name, SafeStream(stream or _ClosedStream(), on_lost))


def print_library_warning(
    message: Warning | str, category: type[Warning], filename: str, *_: object, **_more: object
) -> None:
    """Print a warning as `warnings.showwarning` gets it: on one line that names the library, without its code."""
    parts = Path(filename).parts
    library = parts[parts.index("site-packages") + 1] if "site-packages" in parts else category.__name__
    words = describe_error(message) if isinstance(message, Warning) else message
    print_message(f"warning from {library.removesuffix('.py')}: {words}")


def release_streams() -> None:
    """Write what is left, and drop what cannot be written, which Python would end with exit code 120 for."""
    sys.stdout.flush()
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                discard_output(stream.fileno())


def discard_output(descriptor: int) -> None:
    """Let a file descriptor lead nowhere."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, descriptor)
    os.close(devnull)


def _ignore(_error: OSError) -> None:
    """Go on: there is no place left where this could be said."""
