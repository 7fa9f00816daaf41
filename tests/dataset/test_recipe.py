"""In which split a case is, and what a dataset cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsisr.dataset.recipe import Recipe
from wsisr.errors import ConfigError


@given(case=st.text(min_size=1), share=st.floats(0, 0.99), more=st.floats(0, 0.99))
def test_a_case_that_validates_still_does_with_a_larger_share(case: str, share: float, more: float) -> None:
    few, many = sorted((share, more))
    if Recipe(val_share=few).assign_split(case) == "val":
        assert Recipe(val_share=many).assign_split(case) == "val"


def test_the_share_of_cases_in_validation_is_what_was_asked_for() -> None:
    splits = [Recipe(val_share=0.25).assign_split(f"case {number}") for number in range(4000)]
    assert splits.count("val") == pytest.approx(1000, abs=100)


@pytest.mark.parametrize(
    ("name", "pattern", "case"),
    [
        ("P12_HE_x0.svs", r"^[^_.]+", "P12"),
        ("P12.ome.tif", r"^[^_.]+", "P12"),
        ("2024-P12-HE.svs", r"P\d+", "P12"),
        ("other.svs", r"P\d+", "other"),
        ("other.svs", r"P*", "other"),
    ],
)
def test_a_case_is_what_the_pattern_finds_in_the_name(name: str, pattern: str, case: str) -> None:
    assert Recipe(case_pattern=pattern).derive_case(Path("P99") / name) == case


@pytest.mark.parametrize(
    "wrong",
    [
        {"patch_px": 63},
        {"patch_px": 132},
        {"patch_px": 0},
        {"coarsest_mpp": 0.0},
        {"coarsest_mpp": float("nan")},
        {"most_patches": 0},
        {"val_share": 1.0},
        {"overlap": 0.26},
        {"overlap": -0.1},
        {"val_share": float("nan")},
        {"case_pattern": "("},
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as error:
        Recipe(**wrong)
    assert "\n" not in str(error.value)
