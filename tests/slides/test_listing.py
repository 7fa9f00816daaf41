"""What people give as slides: files, folders, patterns, lists and tables become one list."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsisr.errors import ConfigError, ConfigNotFoundError, SlideError, SlideNotFoundError
from wsisr.slides.listing import STAGE_PREFIX, SlideEntry, list_slides


def touch_files(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def write_lines(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_folder_stands_for_the_slides_in_it_and_its_folders_by_name(tmp_path: Path) -> None:
    slides = touch_files(tmp_path, "a.SVS", "b.tif", "c.ndpi", "inside/deeper/d.svs", "z.svs")
    stage = f"{STAGE_PREFIX}0123456789abcdef"
    touch_files(tmp_path, "notes.txt", "._a.svs", ".hidden/e.svs", "a.x2.ome.tif.wsisr-part/e.svs", f"{stage}/a.svs")
    assert list_slides([tmp_path]).paths == slides
    assert list_slides([tmp_path / "**" / "*.svs"]).paths == [path for path in slides if path.suffix == ".svs"]
    assert list_slides([tmp_path / stage / "*.svs"]).paths == [tmp_path / stage / "a.svs"]


def test_a_folder_of_dicom_files_is_one_slide(tmp_path: Path) -> None:
    touch_files(tmp_path, "1.2.840/0.dcm", "1.2.840/1.dcm", "a.svs")
    assert list_slides([tmp_path]).paths == [tmp_path / "1.2.840", tmp_path / "a.svs"]
    alone = list_slides([tmp_path / "1.2.840"])
    assert (alone.paths, alone.is_single) == ([tmp_path / "1.2.840"], True)


def test_an_ome_zarr_is_one_slide(tmp_path: Path) -> None:
    touch_files(tmp_path, "a.ome.zarr/zarr.json", "a.ome.zarr/0/zarr.json", "b.qptiff")
    assert list_slides([tmp_path]).paths == [tmp_path / "a.ome.zarr", tmp_path / "b.qptiff"]
    assert list_slides([tmp_path / "a.ome.zarr"]).is_single


def test_the_pixels_of_a_mirax_slide_are_no_slide(tmp_path: Path) -> None:
    touch_files(tmp_path, "a.mrxs", "a/Slidedat.ini", "a/Data0000.dat", "a/stray.tif")
    assert list_slides([tmp_path]).paths == [tmp_path / "a.mrxs"]
    assert list_slides([tmp_path / "*"]).paths == [tmp_path / "a.mrxs"]


def test_a_folder_that_leads_back_to_itself_ends(tmp_path: Path) -> None:
    (slide,) = touch_files(tmp_path, "inside/a.svs")
    (tmp_path / "inside" / "loop").symlink_to(tmp_path)
    assert slide in list_slides([tmp_path]).paths


def test_a_pattern_finds_what_the_shell_would(tmp_path: Path) -> None:
    first, _, second, third = touch_files(tmp_path, "a.svs", "b.tif", "p1/c.svs", "p2/q/d.svs")
    assert list_slides([tmp_path / "*.svs"]).paths == [first]
    assert list_slides([tmp_path / "**" / "*.svs"]).paths == [first, second, third]
    assert list_slides([tmp_path / "p?"]).paths == [second, third]


def test_a_path_that_exists_is_no_pattern_and_no_list(tmp_path: Path) -> None:
    paths = touch_files(tmp_path, "a[1].svs", "@b.svs")
    assert list_slides(paths).paths == paths


@pytest.mark.parametrize("word", ["*.svs", "", "@list.txt", "table.csv"])
def test_one_slide_counts_as_a_list_unless_it_was_named_itself(tmp_path: Path, word: str) -> None:
    (slide,) = touch_files(tmp_path, "a.svs")
    write_lines(tmp_path / "list.txt", "a.svs")
    write_lines(tmp_path / "table.csv", "path", "a.svs")
    given_word = f"@{tmp_path / 'list.txt'}" if word.startswith("@") else tmp_path / word
    listed = list_slides([given_word])
    assert (listed.paths, listed.is_single) == ([slide], False)
    assert list_slides([slide]).is_single


def test_a_list_holds_words_from_its_own_folder(tmp_path: Path) -> None:
    first, second, third = touch_files(tmp_path, "x/a.svs", "x/b.svs", "c d.tif")
    lines = write_lines(tmp_path / "list.txt", "# a cohort", "", "x/*.svs", " c d.tif ", str(first))
    assert list_slides([f"@{lines}"]).paths == [first, second, third]


def test_a_table_says_pixel_size_case_and_output(tmp_path: Path) -> None:
    table = tmp_path / "cohort.csv"
    table.write_text('\ufeffpath,mpp,case,output,stain\n"a, 1.svs",0.25,P1,one.ome.tif,HE\nb.svs,,,,\n')
    listed = list_slides([table])
    assert listed.entries == (
        SlideEntry(tmp_path / "a, 1.svs", 0.25, "P1", Path("one.ome.tif")),
        SlideEntry(tmp_path / "b.svs"),
    )
    assert listed.unused_columns == (f"{table}: stain",)
    table.write_text("path;mpp\na.svs;0,5\n")  # as spreadsheets write it where the decimal point is a comma
    assert list_slides([table]).entries == (SlideEntry(tmp_path / "a.svs", 0.5),)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["slide", "a.svs"], "its columns are slide; it needs path"),
        (["slide;mpp", "a.svs;1"], "its columns are slide, mpp; it needs path"),
        (["path;mpp", "a.svs;1,5,0"], "line 2: mpp '1,5,0' is no pixel size; give um/px, such as 0.25"),
        (["path,path", "a.svs,b.svs"], "has column path twice"),
        (["path,mpp", "a.svs,0.5um"], "line 2: mpp '0.5um' is no pixel size"),
        (["path,mpp", "a.svs,0.5", "b.svs,-1"], "line 3: mpp '-1'"),
        (["path,mpp", "a.svs,nan"], "line 2: mpp 'nan'"),
        (["path,mpp", ",0.5"], "line 2: has no path"),
        (["path", "a, 1.svs"], "line 2: has more cells"),
        (["path"], "no slide in this table"),
    ],
)
def test_a_table_that_cannot_be_meant_is_an_error_with_its_line(tmp_path: Path, lines: list[str], message: str) -> None:
    table = write_lines(tmp_path / "cohort.csv", *lines)
    with pytest.raises(ConfigError) as error:
        list_slides([table])
    assert str(error.value).startswith(f"{table}")
    assert message in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "path;mpp;;\na.svs;0,5;;\n;;;\n",
        "path;;mpp\n\na.svs;;0,5\n   \n",
        "path;mpp\na.svs;0,5;;\n",
        "path;mpp;size (w, h)\na.svs;0,5;1\n",
        'path;"note, other";mpp\na.svs;x;0,5\n',
        ";;\r\npath;mpp;\r\na.svs;0,5;\r\n",
    ],
)
def test_tables_are_read_as_spreadsheets_save_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "cohort.csv").write_bytes(text.encode())
    assert list_slides([tmp_path / "cohort.csv"]).entries == (SlideEntry(tmp_path / "a.svs", 0.5),)


def test_text_under_a_column_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 2: has more cells"):
        list_slides([write_lines(tmp_path / "cohort.csv", "path;;mpp", "a.svs;x;0,5")])


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\f", "\v"])
def test_only_line_breaks_end_a_row_or_a_line(tmp_path: Path, mark: str) -> None:
    (slide,) = touch_files(tmp_path, f"a{mark}b.svs")
    (tmp_path / "cohort.csv").write_bytes(f'path,case\r\n{slide.name},"P\n1"\r\n'.encode())
    (tmp_path / "list.txt").write_bytes(f"{slide.name}\r\n".encode())
    assert list_slides([tmp_path / "cohort.csv"]).entries == (SlideEntry(slide, case="P\n1"),)
    assert list_slides([f"@{tmp_path / 'list.txt'}"]).paths == [slide]


def test_rows_of_one_slide_and_output_that_differ_are_refused_with_both_lines(tmp_path: Path) -> None:
    same = write_lines(tmp_path / "same.csv", "path,mpp,case", "a.svs,0.5,A", "./a.svs,0.50,A")
    assert list_slides([same]).entries == (SlideEntry(tmp_path / "a.svs", 0.5, "A"),)
    for first, second, values in (
        ("a.svs,0.5,,x.tif", "a.svs,0.25,,./x.tif", ("mpp 0.5", "mpp 0.25")),
        ("a.svs,,A,", "a.svs,,,", ("case A", "case none")),
    ):
        table = write_lines(tmp_path / "two.csv", "path,mpp,case,output", first, "b.svs,,,", second)
        with pytest.raises(ConfigError) as error:
            list_slides([table])
        for line, value in zip((2, 4), values, strict=True):
            assert f"{value} ({table}, line {line})" in str(error.value)
    outputs = write_lines(tmp_path / "two.csv", "path,mpp,output", "a.svs,0.5,x", "a.svs,0.25,y")
    assert len(list_slides([outputs]).entries) == 2


def test_pictures_of_a_folder_are_taken_by_a_pattern(tmp_path: Path) -> None:
    for name in ("a.png", "b.JPG", "c.txt"):
        (tmp_path / name).touch()
    with pytest.raises(SlideError, match="no slide in this folder; to take its pictures, give ") as refused:
        list_slides([tmp_path])
    advice = shlex.split(str(refused.value).partition("pictures, give ")[2])
    assert list_slides(advice).paths == [tmp_path / "b.JPG", tmp_path / "a.png"]


def test_a_folder_says_what_it_holds_that_is_not_read(tmp_path: Path) -> None:
    touch_files(tmp_path, "kfb/notes.txt", "kfb/scan.kfb", "a/Slidedat.ini", "a/Data0000.dat")
    with pytest.raises(SlideError, match=r"no slide in this folder; scan.kfb is a KFBIO slide by its name, .*export"):
        list_slides([tmp_path / "kfb"])
    with pytest.raises(SlideError, match=r"a: holds the scan of a MIRAX slide; give a.mrxs .*, which is missing"):
        list_slides([tmp_path / "a"])


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigNotFoundError, match=r"list of slides .*; give one that exists"):
        list_slides([f"@{tmp_path / 'list.txt'}"])
    touch_files(tmp_path, "lists/night.txt")
    with pytest.raises(ConfigNotFoundError, match=r"did you mean .*lists/night\.txt\?"):
        list_slides([f"@{tmp_path / 'lists' / 'nigth.txt'}"])
    with pytest.raises(ConfigNotFoundError, match="table"):
        list_slides([tmp_path / "cohort.csv"])
    with pytest.raises(SlideNotFoundError, match="no file has such a name; give other slides"):
        list_slides([tmp_path / "*.svs"])
    with pytest.raises(SlideNotFoundError, match="no slide in this folder"):
        list_slides([tmp_path])
    touch_files(tmp_path, "in/a.tif", "in/b.tif", "in/c.ndpi", "in/notes.txt")
    with pytest.raises(SlideNotFoundError, match=r"no file has such a name; there are 2 \.tif, 1 \.ndpi in "):
        list_slides([tmp_path / "in" / "*.svs"])
    with pytest.raises(SlideNotFoundError, match=r"there is no folder .*/inn; did you mean .*/in\?"):
        list_slides([tmp_path / "inn" / "*.svs"])
    with pytest.raises(ConfigError, match="no slide in this list"):
        list_slides([f"@{write_lines(tmp_path / 'list.txt', '#')}"])
    assert list_slides([tmp_path / "missing.svs"]).paths == [tmp_path / "missing.svs"]


def test_results_in_folders_are_left_out_and_counted(tmp_path: Path) -> None:
    slide, result = touch_files(tmp_path, "a.svs", "a.x2.ome.tif")
    for word in (tmp_path, tmp_path / "a*"):
        listed = list_slides([word], lambda path: path == result)
        assert (listed.paths, listed.left_out) == ([slide], (result,))
    assert list_slides([result], lambda path: path == result).paths == [result]
    with pytest.raises(SlideError, match="matches no slide, only results"):
        list_slides([tmp_path / "*.ome.tif"], lambda path: path == result)


@given(words=st.lists(st.sampled_from(["a.svs", "./a.svs", "b.tif", "x/../b.tif"])))
def test_each_slide_is_listed_once_in_the_order_given(words: list[str]) -> None:
    paths = [path.name for path in list_slides(words).paths]
    assert paths == list(dict.fromkeys(Path(word).name for word in words))


@pytest.mark.parametrize(
    "content", [b"PAR1" + bytes(9000), "path,mpp\na,1\n".encode("utf-16"), b"x" * 9000, b"path,mpp\na," + b"9" * 9000]
)
@pytest.mark.parametrize("word", ["slides.csv", "@slides.txt"])
def test_a_table_or_list_of_another_type_is_one_short_line(tmp_path: Path, content: bytes, word: str) -> None:
    (tmp_path / word.removeprefix("@")).write_bytes(content)
    mark = "@" if word.startswith("@") else ""
    if mark and b"\0" not in content:
        pytest.skip("any text is a list")
    with pytest.raises(ConfigError) as error:
        list_slides([f"{mark}{tmp_path / word.removeprefix('@')}"])
    assert len(str(error.value)) < 400 + len(str(tmp_path))
