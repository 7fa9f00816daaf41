"""What a bench found: rows of the same keys as a table on the terminal, and as JSON with the machine they are of."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

Row: TypeAlias = dict[str, float | str]


def table(rows: Sequence[Row]) -> str:
    """In Markdown; three digits of a number."""
    lines = [" | ".join(rows[0]), "|".join("---" for _ in rows[0])]
    lines += [" | ".join(_cell(value) for value in row.values()) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def report(rows: Sequence[Row], path: Path | None, **facts: float | str) -> None:
    """Prints rows and facts, and writes them where a path is given. What else ran on the machine shows in its load."""
    facts |= {"cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 1)}
    said = ", ".join(f"{name} {_cell(value)}" for name, value in facts.items())
    sys.stdout.write(f"{table(rows)}{said}\n")
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**facts, "rows": list(rows)}, indent=2))


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
