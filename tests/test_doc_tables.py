"""Tables that benches write into README and docs: as the benches would write them, in the versions that CI installs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.bench.interop import inputs, readers
from tests.bench.interop._libraries import LIBRARIES
from tests.support.doc_tables import format_row, merge_rows, read_table, write_table
from tests.support.inputs import COLUMNS, INPUTS, README_COLUMNS, make_readme_rows
from tests.support.versions import find_pin, read_pins


def list_contradictions(labels: Iterable[str], distributions: dict[str, str]) -> list[str]:
    """Return the labels, a name and a version each, of libraries that CI installs in another version."""
    pins, wrong = read_pins(), []
    for label in labels:
        name, _, version = label.rpartition(" ")
        pin = find_pin(distributions.get(name, name), pins)
        wrong += [] if pin is None or f"{pin}.".startswith(f"{version}.") else [label]
    return wrong


def test_tables_of_inputs_are_as_the_bench_would_write_them() -> None:
    rows = read_table(inputs.PAGE, COLUMNS)
    assert rows == inputs.complete_rows([])
    assert [cells[0] for cells in rows] == [each.name for each in INPUTS]
    assert read_table(inputs.README, README_COLUMNS) == make_readme_rows(rows)


def test_tables_of_readers_are_as_the_bench_would_write_them() -> None:
    rows, codec_rows = read_table(readers.PAGE, readers.COLUMNS), read_table(readers.PAGE, readers.CODEC_COLUMNS)
    assert rows == readers.complete_rows([])
    assert codec_rows == readers.complete_codec_rows([])
    shown = {(cells[0], readers.remove_version(cells[1])) for cells in rows}
    assert {(layout, library.name) for library in LIBRARIES for layout in library.layouts} <= shown


def test_rows_name_the_versions_that_were_measured() -> None:
    rows = [cells for cells in read_table(inputs.PAGE, COLUMNS) if cells[5]]
    labels = [label.partition(",")[0] for cells in rows for label in (cells[2], cells[5])]
    assert all(label.rpartition(" ")[2][:1].isdigit() for label in labels)
    assert list_contradictions(labels, {}) == []
    shown = [cells[1] for cells in read_table(readers.PAGE, readers.COLUMNS)]
    assert list_contradictions(shown, {library.name: library.distribution for library in LIBRARIES}) == []


def test_only_measured_rows_change(tmp_path: Path) -> None:
    page, columns = tmp_path / "a.md", ("name", "value")
    rows = [("a", "1"), ("b", ""), ("c", "3")]
    page.write_text("before\n\n" + "".join(map(format_row, (columns, ("---", "--:"), *rows))) + "\nafter\n")
    merged = merge_rows(read_table(page, columns), [("b", "2"), ("d", "4")], lambda cells: cells[0], list("dcba"))
    write_table(page, columns, merged)
    assert read_table(page, columns) == [("d", "4"), ("c", "3"), ("b", "2"), ("a", "1")]
    assert page.read_text().startswith("before\n\n| name | value |\n| --- | --: |\n| d | 4 |\n")
    assert page.read_text().endswith("| a | 1 |\n\nafter\n")
    with pytest.raises(ValueError, match="not in list"):
        read_table(page, ("other",))
