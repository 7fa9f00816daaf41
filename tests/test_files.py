"""Atomic writing: the new file is complete, or the old one stays."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.disks import limit_file_size, run_as_nobody
from wsisr.errors import OutputError
from wsisr.files import find_scan_folder, write_atomically


@given(pieces=st.lists(st.binary()))
def test_a_file_is_its_pieces_and_leaves_no_other_file(
    pieces: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("whole") / "a.bin"
    write_atomically(path, pieces)
    assert path.read_bytes() == b"".join(pieces)
    assert list(path.parent.iterdir()) == [path]


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_atomically(path, [b"old, and longer"])
    write_atomically(path, [b"new"])
    assert path.read_bytes() == b"new"


def test_the_permissions_of_a_file_follow_the_umask(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", [])
    (tmp_path / "b").touch()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "b").stat().st_mode)


def test_if_the_pieces_fail_only_the_old_file_stays(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, pieces())
    assert [path.read_bytes(), *tmp_path.iterdir()] == [b"old", path]


def test_if_the_disk_is_full_only_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with limit_file_size(5000), pytest.raises(OutputError, match="cannot be written: file too large; ") as error:
        write_atomically(path, [bytes(4000), bytes(4000)])
    assert str(error.value).startswith(f"{path}: ")
    assert [path.read_bytes(), *tmp_path.iterdir()] == [b"old", path]


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no such file or directory; choose another folder"):
        write_atomically(tmp_path / "none" / "a.bin", [b"new"])


def test_a_folder_without_permission_is_one_line(tmp_path: Path) -> None:
    with run_as_nobody(), pytest.raises(OutputError, match="permission denied; choose a folder that you may write to"):
        write_atomically(tmp_path / "a.bin", [b"new"])


@pytest.mark.parametrize(
    ("slide", "folder"),
    [("a/b.mrxs", "a/b"), ("a/b.MRXS", "a/b"), ("a/b.c.vsi", "a/_b.c_"), ("a/b.svs", None), ("/", None), (".", None)],
)
def test_the_scan_of_a_mirax_slide_or_a_vsi_lies_in_a_folder_beside_it(slide: str, folder: str | None) -> None:
    assert find_scan_folder(Path(slide)) == (folder and Path(folder))
