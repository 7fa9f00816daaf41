"""Tables and lists that people write: text in UTF-8, and CSV as spreadsheets save it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from wsisr.bounds import MAX_TABLE_BYTES
from wsisr.errors import ConfigError, ConfigNotFoundError, describe_error

DELIMITERS = (",", ";", "\t")
"""What may separate columns; the first that gives the columns that are needed does."""


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One line of a table."""

    cells: dict[str, str]
    """Column to text, without spaces around it; empty where nothing is given. Bytes of other encodings are kept."""
    origin: str
    """Table and line, as `slides.csv, line 2`."""

    def get_text(self, column: str) -> str:
        """Return a cell that is no path; empty where the column is missing. Raises `ConfigError` if it is no UTF-8."""
        text = self.cells.get(column, "")
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise ConfigError(f"{self.origin}: {column} is no text in UTF-8; save the table as CSV in UTF-8")
        return text


@dataclass(frozen=True, slots=True)
class CsvTable:
    """The rows of a table, and its columns in small letters."""

    columns: tuple[str, ...]
    rows: tuple[CsvRow, ...]


def read_csv_table(path: Path, noun: str, required: Sequence[str], optional: Sequence[str]) -> CsvTable:
    """Read a CSV whose columns are separated by commas, semicolons or tabs, and may stand in any order.

    The noun says what the table is, as `a table of slides`. Raises `ConfigError`, with the line, for a table that
    lacks a required column, has a column twice, or a row with more cells than columns. Rows and unnamed columns in
    which nothing stands are left out.
    """
    # Spreadsheets write a byte order mark, and semicolons where the decimal point is a comma.
    text = read_text_file(path, noun).removeprefix("\ufeff")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=_choose_delimiter(text, required))
    try:
        columns = _parse_heading(reader)
        named = [name for name in columns if name]
        if not set(required) <= set(named):
            found = describe_error(ValueError(", ".join(named) or "none"))
            raise ConfigError(f"{path}: its columns are {found}; {_describe_columns(required, optional)}")
        repeated = next((name for name in named if named.count(name) > 1), None)
        if repeated is not None:
            raise ConfigError(f"{path}: has column {describe_error(ValueError(repeated))} twice; keep one of them")
        cells = ([cell.strip() for cell in row] for row in reader)
        rows = [_convert_row(columns, row, f"{path}, line {reader.line_num}") for row in cells if any(row)]
    except csv.Error as error:
        raise ConfigError(f"{path}: not a CSV ({error}); separate columns by commas or semicolons") from error
    return CsvTable(tuple(named), tuple(rows))


def read_text_file(path: Path, noun: str) -> str:
    """Return the text of a file of at most `MAX_TABLE_BYTES`. Raises `ConfigError` if it is none."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TABLE_BYTES + 1)
    except OSError as error:
        words = f"{path}: cannot be read as {noun} ({error.strerror})"
        if isinstance(error, FileNotFoundError):
            from wsisr.slides.missing import advise_on_missing_file  # noqa: PLC0415 - only for what is not there

            raise ConfigNotFoundError(f"{words}; {advise_on_missing_file(path) or 'give one that exists'}") from error
        raise ConfigError(f"{words}; give a file that can be read") from error
    if len(content) > MAX_TABLE_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_TABLE_BYTES // 2**20} MiB, too large for {noun}; divide it")
    if b"\0" in content:  # a spreadsheet, Parquet or UTF-16; no path holds such a byte either
        raise ConfigError(f"{path}: is no text, so it cannot be {noun}; save it as text in UTF-8")
    return content.decode("utf-8", "surrogateescape")  # as names of files are


def _choose_delimiter(text: str, required: Sequence[str]) -> str:
    """Return the first that gives the required columns, else the first that the heading holds."""
    for mark in DELIMITERS:
        with suppress(csv.Error):
            heading = _parse_heading(csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=mark))
            if set(required) <= set(heading):
                return mark
    first_line = text.partition("\n")[0]
    return next((mark for mark in DELIMITERS if mark in first_line), DELIMITERS[0])


def _parse_heading(rows: Iterable[list[str]]) -> list[str]:
    """Return the cells of the first row that is not empty, in small letters."""
    headings = ([name.strip().lower() for name in row] for row in rows)
    return next(filter(any, headings), [])


def _convert_row(columns: Sequence[str], texts: Sequence[str], origin: str) -> CsvRow:
    """Convert a row; columns without a name, which spreadsheets save, may hold nothing."""
    if any(text and not name for name, text in zip_longest(columns, texts, fillvalue="")):
        raise ConfigError(f"{origin}: has more cells than there are columns; put text with commas in quotes")
    return CsvRow(
        {name: text for name, text in zip_longest(columns, texts[: len(columns)], fillvalue="") if name}, origin
    )


def _describe_columns(required: Sequence[str], optional: Sequence[str]) -> str:
    """Return `it needs slide and case and may have split`."""
    return f"it needs {_join(required)} and may have {_join(optional)}"


def _join(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
