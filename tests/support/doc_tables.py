"""Tables of the docs that benches write: each is found by its heading row, and rows that were not measured stay."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

Cells: TypeAlias = tuple[str, ...]
"""The cells of a row."""


def read_table(page: Path, columns: Sequence[str]) -> list[Cells]:
    """Return the rows of a table of a page in Markdown. Raises `ValueError` where it has no table of these columns."""
    _, table, _ = _split_page(page, columns)
    return [tuple(cell.strip() for cell in line.strip().strip("|").split("|")) for line in table[2:]]


def write_table(page: Path, columns: Sequence[str], rows: Iterable[Cells]) -> None:
    """Replace the rows of a table of a page."""
    before, table, after = _split_page(page, columns)
    page.write_text("".join([*before, *table[:2], *map(format_row, rows), *after]), encoding="utf-8")


def format_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def merge_rows(
    stored: Iterable[Cells], measured: Iterable[Cells], key: Callable[[Cells], Hashable], order: Sequence[Hashable]
) -> list[Cells]:
    """Return the measured rows, and those stored ones that were not measured, in an order of their keys."""
    rows = {key(cells): cells for cells in (*stored, *measured)}
    return [rows[each] for each in order if each in rows]


def _split_page(page: Path, columns: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Return the lines before a table, its own, and those behind it."""
    lines = page.read_text(encoding="utf-8").splitlines(keepends=True)
    start = lines.index(format_row(columns))
    end = next((at for at in range(start, len(lines)) if not lines[at].startswith("|")), len(lines))
    return lines[:start], lines[start:end], lines[end:]
