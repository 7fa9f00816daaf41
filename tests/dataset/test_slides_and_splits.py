"""The slides of a dataset: found, named, split."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.pairs import make_record
from wsisr.dataset.recipe import Recipe
from wsisr.dataset.records import parse_manifest
from wsisr.dataset.slides_and_splits import (
    CaseEntry,
    DatasetSlide,
    assign_slides,
    assign_slides_by_table,
    read_case_table,
)
from wsisr.errors import ConfigError, ConfigNotFoundError, DatasetError
from wsisr.slides.listing import SlideEntry, list_slides

NAMES = st.sampled_from(["a", "A", "a~2", "b", "b~3", "c_1", "C_2"])
PATHS = st.builds(
    lambda folder, name, suffix: Path(folder) / f"{name}{suffix}",
    st.sampled_from("xyz"),
    NAMES,
    st.sampled_from([".svs", ".tif", ".ome.tif", ""]),
)


def touched(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def paths_of(sources: Iterable[DatasetSlide]) -> list[Path]:
    return [source.path for source in sources]


def sources(slides: Iterable[Path], held_out: Iterable[Path] = ()) -> list[DatasetSlide]:
    return assign_slides(list_slides(slides).entries, list_slides(held_out).entries, Recipe())


@given(paths=st.lists(PATHS))
def test_names_differ_even_where_upper_and_lower_case_are_one(paths: list[Path]) -> None:
    found = sources(paths)
    assert len({source.stem.casefold() for source in found}) == len(found) == len(set(paths))
    assert len({source.name for source in found}) == len(found)


@given(paths=st.lists(PATHS, unique_by=lambda path: path.stem.casefold()))
def test_a_slide_alone_of_its_name_keeps_it(paths: list[Path]) -> None:
    assert [source.name for source in sources(paths)] == [path.name for path in paths]


@given(paths=st.lists(PATHS), held_out=st.lists(PATHS))
def test_no_case_is_in_two_splits(paths: list[Path], held_out: list[Path]) -> None:
    try:
        found = sources(paths, held_out)
    except DatasetError:
        cases = [{Recipe().derive_case(path) for path in each} for each in (set(paths) - set(held_out), held_out)]
        assert cases[0] & cases[1]
        return
    splits: dict[str, set[str]] = {}
    for source in found:
        splits.setdefault(source.case, set()).add(source.split)
    assert all(len(each) == 1 for each in splits.values())


def test_a_slide_that_is_given_twice_counts_once(tmp_path: Path) -> None:
    first, second = touched(tmp_path, "a.svs", "b.svs")
    assert paths_of(sources([second, tmp_path, second])) == [second, first]


def test_a_slide_that_is_held_out_leaves_the_folder_it_is_in(tmp_path: Path) -> None:
    first, second, third = touched(tmp_path, "a.svs", "b.svs", "c.svs")
    found = sources([tmp_path], [second])
    assert [(source.path, source.split) for source in found] == [(first, "train"), (third, "train"), (second, "val")]


def test_a_case_on_both_sides_is_refused(tmp_path: Path) -> None:
    first, second = touched(tmp_path, "P1_HE.svs", "P1_IHC.svs")
    with pytest.raises(DatasetError, match="case P1 is in training and in validation; hold out all slides"):
        sources([first], [second])


def table(folder: Path, *lines: str) -> Path:
    path = folder / "cases.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_table_says_the_case_and_perhaps_the_split(tmp_path: Path) -> None:
    touched(tmp_path, "x1.svs", "x2.svs", "y.svs")
    cases = read_case_table(table(tmp_path, "slide,case,split", "x1.svs,P1,val", "x2,P1,val", "y.svs,P2,"))
    found = assign_slides_by_table(list_slides([tmp_path]).entries, cases, Recipe(val_share=0.0))
    assert [(source.case, source.split) for source in found] == [("P1", "val"), ("P1", "val"), ("P2", "train")]


def test_a_slide_that_is_not_in_the_table_is_refused(tmp_path: Path) -> None:
    slides = touched(tmp_path, "a.svs", "b.svs")
    with pytest.raises(DatasetError, match=r"b\.svs: is not in the table of cases"):
        assign_slides_by_table(
            map(SlideEntry, slides), read_case_table(table(tmp_path, "slide,case", "a.svs,P1")), Recipe()
        )


def test_rows_with_and_without_suffix_that_differ_are_refused(tmp_path: Path) -> None:
    slides = [SlideEntry(path) for path in touched(tmp_path, "a.svs")]
    cases = read_case_table(table(tmp_path, "slide,case,split", "a.svs,k,train", "a,m,val"))
    with pytest.raises(DatasetError, match=r"a\.svs: the table of cases says something else"):
        assign_slides_by_table(slides, cases, Recipe())
    same = read_case_table(table(tmp_path, "slide,case,split", "a.svs,k,train", "a,k,train"))
    assert [slide.case for slide in assign_slides_by_table(slides, same, Recipe())] == ["k"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["name,case", "a.svs,P1"], "its columns are name, case; it needs slide and case and may have split"),
        (["slide,case", "a.svs,"], "line 2: has no case"),
        (["slide,case,split", "a.svs,P1,test"], "line 2: there is no split test; write train or val"),
        (["slide,case,split", "a.svs,P1,val", "b.svs,P1,train"], "line 3: case P1 is in two splits"),
        (["slide,case", "a.svs,P1", "a.svs,P2"], "line 3: a.svs is of another case or split than above"),
    ],
)
def test_a_table_that_cannot_be_meant_is_one_line(tmp_path: Path, lines: list[str], message: str) -> None:
    path = table(tmp_path, *lines)
    with pytest.raises(ConfigError) as error:
        read_case_table(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_a_table_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigNotFoundError, match="cannot be read as a table of cases"):
        read_case_table(tmp_path / "none.csv")


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_spreadsheets_separate_columns_as_they_like(tmp_path: Path, mark: str) -> None:
    path = table(
        tmp_path, f"\ufeffSlide {mark}case{mark} Split", f"a.svs{mark} Müller{mark}val", f"b.svs{mark}P2{mark}"
    )
    assert read_case_table(path) == {"a.svs": CaseEntry("Müller", "val"), "b.svs": CaseEntry("P2", None)}
    path.write_bytes(path.read_text().encode("latin-1", "ignore"))
    with pytest.raises(ConfigError, match="line 2: case is no text in UTF-8"):
        read_case_table(path)


@pytest.mark.parametrize(
    "content",
    [b"PAR1\xff\xfe" * 50_000, "slide,case\na,b\n".encode("utf-16"), b"", b'slide,case\n"a'],
)
def test_a_table_of_another_type_is_one_short_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cases.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=r"its columns are|is no text|not a CSV") as error:
        read_case_table(tmp_path / "cases.csv")
    assert len(str(error.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("name", [".hidden.svs", "a\\b.svs", ".svs", "a\nb.svs", "..svs", "a.s\\vs", "a\udcff.svs"])
def test_a_slide_of_any_name_gives_a_shard_that_a_manifest_may_name(tmp_path: Path, name: str) -> None:
    (slide,) = sources([tmp_path / name])
    record = replace(make_record("a"), slide=slide.name, case=slide.case, shard=f"{slide.stem}.bin")
    assert parse_manifest(record.to_json().encode()) == (record,)
