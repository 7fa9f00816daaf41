"""`wsisr` and `python -m wsisr`: the command line, and an end without a traceback while it is still being imported."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
from contextlib import suppress

END_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has one


def main() -> None:
    """Run the command line and exit. Ctrl-C during the imports is one line and exit code 130, too."""
    # Python searches for garbage at every 700 new objects. A start makes lasting ones by the hundred thousand, and the
    # 140 searches among them took a tenth of a second.
    gc.set_threshold(10_000)
    # A cluster sends SIGTERM instead of Ctrl-C, a terminal that ends SIGHUP; nohup has SIGHUP ignored.
    for number in END_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        from wsisr.cli.app import run_command_line  # noqa: PLC0415 - inside the block that catches Ctrl-C

        run_command_line()
    except KeyboardInterrupt:
        with suppress(OSError):
            os.write(2, b"wsisr: interrupted\n")
        sys.exit(130)
    finally:
        end_at_signals()
        # Python's last collection would visit each of the million objects that torch has made: 0.4 s for nothing.
        gc.freeze()


def end_at_signals() -> None:
    """Let a signal end the process from here on: the job is over, and an exception would only print a traceback."""
    for number in (signal.SIGINT, *END_SIGNALS):
        if signal.getsignal(number) is signal.default_int_handler:
            signal.signal(number, signal.SIG_DFL)


def run_process() -> None:
    """Run the command line as a process of its own: the entry point of `wsisr`."""
    try:
        main()
    except SystemExit as ended:
        end_process(ended)
        raise


def end_process(ended: SystemExit) -> None:
    """End the process with the exit code, after what was registered with `atexit` and all output is written.

    Python would take apart one module of torch after the other first, 0.15 s for memory that the system takes back
    anyway. Return where Python's own end is needed: to wait for a thread, or to print an exit code that is a text.
    """
    code = 0 if ended.code is None else ended.code
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    if not isinstance(code, int) or not all(thread.daemon for thread in others):
        return
    end_at_signals()
    atexit._run_exitfuncs()  # what Python calls at this point; there is no public name for it
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return  # full, or closed: Python has its own line and exit code for that
    os._exit(code)


if __name__ == "__main__":
    run_process()
