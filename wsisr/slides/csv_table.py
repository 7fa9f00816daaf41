"""Tables and lists that people write: text in UTF-8, and CSV as spreadsheets save it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wsisr.bounds import MAX_TABLE_BYTES
from wsisr.errors import ConfigError, ConfigNotFoundError, describe_error

DELIMITERS = (",", ";", "\t")
"""What may separate columns; the first that the heading holds does."""


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
    lacks a required column, has a column twice, or a row with more cells than columns.
    """
    # Spreadsheets write a byte order mark, and semicolons where the decimal point is a comma.
    lines = read_text_file(path, noun).removeprefix("\ufeff").splitlines()
    heading = lines[0] if lines else ""
    reader = csv.DictReader(lines, strict=True, delimiter=next((mark for mark in DELIMITERS if mark in heading), ","))
    try:
        columns = [name.strip().lower() for name in reader.fieldnames or ()]
        if not set(required) <= set(columns) or len(set(columns)) < len(columns):
            found = describe_error(ValueError(", ".join(columns) or "none"))
            raise ConfigError(f"{path}: its columns are {found}; {_describe_columns(required, optional)}")
        reader.fieldnames = columns
        rows = [_convert_row(row, f"{path}, line {reader.line_num}") for row in reader]
    except csv.Error as error:
        raise ConfigError(f"{path}: not a CSV ({error}); separate columns by commas or semicolons") from error
    return CsvTable(tuple(columns), tuple(rows))


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


def _convert_row(row: dict[str, str | None], origin: str) -> CsvRow:
    if None in row:
        raise ConfigError(f"{origin}: has more cells than there are columns; put text with commas in quotes")
    return CsvRow({name: (cell or "").strip() for name, cell in row.items()}, origin)


def _describe_columns(required: Sequence[str], optional: Sequence[str]) -> str:
    """Return `it needs slide and case and may have split`."""
    return f"it needs {_join(required)} and may have {_join(optional)}"


def _join(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
