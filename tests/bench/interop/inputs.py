"""What each format opens as, and how far its pixels are from another library's: `python -m tests.bench inputs`.

Prints the table of docs/inputs.md. `--write` puts it there, and its columns on reading into the README; rows of samples
that are not at hand stay as they are.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.doc_tables import Cells, format_row, merge_rows, read_table, write_table
from tests.support.inputs import COLUMNS, INPUTS, README_COLUMNS, Input, examine_input, make_cells, make_readme_rows
from tests.support.samples import REPOSITORY

PAGE, README = REPOSITORY / "docs" / "inputs.md", REPOSITORY / "README.md"


def measure(each: Input) -> Cells:
    with TemporaryDirectory() as folder:
        return make_cells(each, examine_input(each, Path(folder)))


def complete_rows(measured: list[Cells]) -> list[Cells]:
    """Return the rows of the table, in the order of the samples: the measured ones, and else those of the page."""
    return merge_rows(read_table(PAGE, COLUMNS), measured, lambda cells: cells[0], [each.name for each in INPUTS])


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="into docs/inputs.md and the README")
    rows = complete_rows([measure(each) for each in INPUTS if each.is_available])
    if parser.parse_args().write:
        write_table(PAGE, COLUMNS, rows)
        write_table(README, README_COLUMNS, make_readme_rows(rows))
    sys.stdout.write("".join(map(format_row, (COLUMNS, *rows))))


if __name__ == "__main__":
    main()
