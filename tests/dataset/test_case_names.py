"""What names a patient in the names of slides, as the field writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsisr.dataset.case_names import derive_case_name, find_doubtful_cases
from wsisr.dataset.recipe import Recipe


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("TCGA-02-0001-01Z-00-DX1.83fce43e-42ac-4dcd-b156-2908e75f2e47.svs", "TCGA-02-0001"),
        ("TARGET-30-PABCDE-01A-01-BS1.svs", "TARGET-30-PABCDE"),
        ("GTEX-1117F-0126.svs", "GTEX-1117F"),
        ("C3L-00001-21.svs", "C3L-00001"),
        ("MSB-00241-01-05.svs", "MSB-00241"),
        ("patient_017_node_3.tif", "patient_017"),
        ("tumor_001.tif", "tumor_001"),
        ("01_01_0083.svs", "01_01_0083"),
        ("S21-12345-A1-2.svs", "S21-12345"),
        ("HP19.754.A5.ccRCC.scn", "HP19.754"),
        ("2023-0412 B.ndpi", "2023-0412"),
        ("case-1.svs", "case-1"),
        ("case_2_HE.svs", "case_2"),
        ("case7a.svs", "case7"),
        ("hacettepe-com-case-10_HE_x508.svs", "hacettepe-com-case-10"),
        ("A-1.svs", "A"),
        ("A-12.ome.tif", "A"),
        ("P12 B.ndpi", "P12"),
        ("P12-A1-HE.svs", "P12"),
        ("P12-slide-1.svs", "P12"),
        ("HP17008718-0-C2-HE_2180.scn", "HP17008718"),
        ("brain-mucormycosis_HE_x15240.svs", "brain-mucormycosis"),
        ("0005f7aaab2800f6170c399693a96917.tiff", "0005f7aaab2800f6170c399693a96917"),
        ("-1.svs", "-1"),
        ("_.svs", "_"),
    ],
)
def test_slides_of_one_patient_are_of_one_case(name: str, case: str) -> None:
    assert derive_case_name(name) == case


@given(name=st.text(min_size=1, max_size=40).filter(lambda text: "/" not in text))
def test_every_name_has_a_case(name: str) -> None:
    assert derive_case_name(name)


@given(
    patient=st.from_regex(r"[A-Z]{1,4}[0-9]{0,6}", fullmatch=True),
    sections=st.lists(st.from_regex(r"[- ][A-Z]?[0-9]{1,2}|_[A-Za-z0-9]+", fullmatch=True), min_size=2, max_size=2),
)
def test_blocks_and_sections_part_no_patient(patient: str, sections: list[str]) -> None:
    first, second = (derive_case_name(f"{patient}{section}.svs") for section in sections)
    assert first == second


@pytest.mark.parametrize(
    ("train", "val", "doubtful"),
    [
        (["P12-001", "P13-001"], ["P12-002"], ("P12-001", "P12-002")),
        (["X-001", "X-002"], ["X-003"], ("X-001", "X-003")),
        ([f"X-{number:03}" for number in range(20)], ["X-020"], None),  # a study
        (["P1", "P2"], ["P3"], None),
        (["A1", "B1"], ["A2", "B2"], ("A1", "A2")),
        (["TCGA-02-0001"], ["TCGA-02-0002"], None),
        (["case-1"], ["case-2"], None),
        (["metaplasia"], ["keloid"], None),
        (["A"], [], None),
    ],
)
def test_cases_of_both_splits_that_could_be_one_patient_are_told(
    train: list[str], val: list[str], doubtful: tuple[str, str] | None
) -> None:
    found = find_doubtful_cases(train, val)
    assert (found and (found.train, found.val)) == doubtful
    if found:  # what the message advises makes one case of them
        assert f"'{found.pattern}'" in str(found)
        recipe = Recipe(case_pattern=found.pattern)
        assert recipe.derive_case(Path(f"{found.train}.svs")) == recipe.derive_case(Path(f"{found.val}.svs"))
