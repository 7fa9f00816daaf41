"""Every format in the table of docs/inputs.md opens with its size, levels and pixel size, and with the right pixels."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.inputs import INPUTS, Input, examine_input


@pytest.mark.parametrize("each", INPUTS, ids=lambda each: each.name)
def test_a_format_opens_with_the_pixels_of_another_library_or_is_refused_by_name(tmp_path: Path, each: Input) -> None:
    if not each.is_available:
        pytest.skip(f"no {each.sample}")
    found = examine_input(each, tmp_path)
    assert each.refusal in found.refusal
    assert (found.info is None) == bool(each.refusal)
    if found.info is not None:
        assert found.sizes[: len(each.sizes)] == each.sizes
        assert found.info.mpp == (each.mpp and pytest.approx(each.mpp, rel=1e-4))
        assert found.error <= 1
