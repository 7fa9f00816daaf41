"""Exit codes of all commands. `wsisr --help` prints the table below, docs/operations.md explains it."""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_PARTLY_FAILED = 3
EXIT_INTERRUPTED = 130
"""128 + SIGINT: what shells expect of a program that Ctrl-C has ended."""
EXIT_READER_LEFT = 141
"""128 + SIGPIPE: what shells see of a program such as `cat` whose reader has ended."""

EXIT_CODES = {
    0: "done",
    EXIT_FAILED: "failed, or a check found something wrong",
    EXIT_USAGE: "wrong usage, or a name that does not exist",
    EXIT_PARTLY_FAILED: "some slides failed, have unreadable parts or show no tissue",
    EXIT_INTERRUPTED: "interrupted; the same command goes on from there",
    EXIT_READER_LEFT: "nobody read the result to its end, as with | head",
}
"""Exit code to meaning."""
