"""Every format in the table of docs/inputs.md opens with its size, levels and pixel size, and with the right pixels."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.doc_tables import Cells, read_table
from tests.support.inputs import COLUMNS, INPUTS, Input, examine_input, make_cells
from tests.support.samples import REPOSITORY


def remove_versions(cells: Cells) -> Cells:
    """Return a row that other versions of the libraries give, too."""
    return tuple(re.sub(r" \d+(\.\d+)+", "", cell) for cell in cells)


@pytest.mark.parametrize("each", INPUTS, ids=lambda each: each.name)
def test_a_format_opens_with_the_pixels_of_another_library_or_is_refused_by_name(tmp_path: Path, each: Input) -> None:
    if not each.is_available:
        pytest.skip(f"no {each.sample}")
    found = examine_input(each, tmp_path)
    row = make_cells(each, found)
    assert remove_versions(row) in map(remove_versions, read_table(REPOSITORY / "docs" / "inputs.md", COLUMNS))
    assert each.refusal in found.refusal
    assert (found.info is None) == bool(each.refusal)
    if found.info is not None:
        assert found.sizes[: len(each.sizes)] == each.sizes
        assert found.info.mpp == (each.mpp and pytest.approx(each.mpp, rel=1e-4))
        assert found.error <= 1
