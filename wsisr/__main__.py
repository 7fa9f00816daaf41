"""`wsisr` and `python -m wsisr`: the command line, and an end without a traceback while it is still being imported."""

from __future__ import annotations

import gc
import os
import signal
import sys


def main() -> None:
    """Run the command line. Ctrl-C during the imports is one line and exit code 130, too."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster sends it instead of Ctrl-C
    try:
        from wsisr.cli.app import run_command_line  # noqa: PLC0415 - inside the block that catches Ctrl-C

        run_command_line()
    except KeyboardInterrupt:
        os.write(2, b"wsisr: interrupted\n")
        sys.exit(130)
    finally:
        end_at_signals()
        # Python's last collection would visit each of the million objects that torch has made: 0.4 s for nothing.
        gc.freeze()


def end_at_signals() -> None:
    """Let a signal end the process from here on: the job is over, and an exception would only print a traceback."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is signal.default_int_handler:
            signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    main()
