"""Formats of a run's report: JSON for programs, HTML for people. Both tell whose report they are."""

from __future__ import annotations

import json
import re
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsisr.cli.console import print_traceback
from wsisr.errors import OutputError, describe_error

if TYPE_CHECKING:
    from wsisr.cli.run_page import RunPage

HTML_SUFFIXES = (".html", ".htm")

HEAD_BYTES = 16_384
"""Bytes of a page within which its head says whose report it is."""

RUN_META = "wsisr-report"
"""Name of the element of a page that holds, as JSON, what tells one run from another."""

_META = re.compile(rf'<meta name="{RUN_META}" content="([^"]*)">')


def is_page(path: Path) -> bool:
    """Whether a report of that name is a page for people."""
    return path.suffix.lower() in HTML_SUFFIXES


def encode_report(path: Path, report: dict[str, Any], page: RunPage | None) -> bytes:
    """Return the content of a report in the format that its name stands for; a page without `page` has no pictures.

    Raises `OutputError` where a page cannot be drawn, by a bug too: it must not cost the slides that are left.
    """
    if not is_page(path):
        return json.dumps(report, indent=2, allow_nan=False).encode() + b"\n"
    from wsisr.cli.run_page import RunPage

    try:
        return (page or RunPage({})).render(report)
    except Exception as error:
        print_traceback(traceback.format_exc())
        reason = f"{type(error).__name__}: {describe_error(error)}"
        raise OutputError(
            f"{path}: cannot be drawn, by a bug of wsisr's ({reason}); --report FILE.json works"
        ) from error


def read_report(path: Path) -> dict[str, Any] | None:
    """Read a report of either format, of a page only its head; None for anything else, of which no more is read.

    Raises `OSError`.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        return decode_report(head + (file.read() if head.lstrip()[:1] == b"{" else b""))


def decode_report(content: bytes) -> dict[str, Any] | None:
    """Return a report of either format, of a page only what its head holds; None for anything else."""
    text: bytes | str = content
    if content[:1] == b"<":
        import html

        found = _META.search(content[:HEAD_BYTES].decode("utf-8", "replace"))
        text = html.unescape(found[1]) if found else b""
    try:
        report = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) and {"wsisr", "slides"} <= report.keys() else None
