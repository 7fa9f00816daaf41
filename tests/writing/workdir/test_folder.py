"""Laws of the work folder: what is not ours is neither entered, emptied nor followed, and what is ours is swept."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.changes import read_tree
from wsisr.errors import OutputError
from wsisr.writing import WorkFolder
from wsisr.writing.workdir.folder import DATASET_FOLDER, PartFolder

IDENTITY = {"run": "this"}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "a.tif"


@pytest.fixture
def folder(output: Path) -> Path:
    return output.with_name(f"{output.name}.wsisr-part")


def leave_work(output: Path) -> None:
    """Leave the folder as a stopped run does."""
    part = PartFolder(output)
    part.resume_or_clear(IDENTITY, restart=False)
    part.tiles_path(0).write_bytes(b"tiles")
    part.release(keep=True)


def link_folder(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    (folder.parent / "elsewhere" / "level-0.tiles").write_text("precious")
    folder.symlink_to(folder.parent / "elsewhere")


def link_tiles(folder: Path) -> None:
    leave_work(folder.with_name("a.tif"))
    (folder.parent / "precious").write_text("precious")
    (folder / "level-0.tiles").unlink()
    (folder / "level-0.tiles").symlink_to(folder.parent / "precious")


def fill_with_names_of_ours(folder: Path) -> None:
    (folder / "dataset").mkdir(parents=True)
    for name in ("dataset/precious", "level-0.tiles", "image", "run.json"):
        (folder / name).write_text(json.dumps(IDENTITY))


def lock_by_another_program(folder: Path) -> None:
    fill_with_names_of_ours(folder)
    (folder / "lock").write_text("12345\n")


def lock_emptily(folder: Path) -> None:
    folder.mkdir()
    (folder / "lock").touch()
    (folder / "image").write_text("precious")


def link_lock(folder: Path) -> None:
    folder.mkdir()
    (folder / "lock").symlink_to(folder.parent / "precious")


@pytest.mark.parametrize(
    "make", [link_folder, link_tiles, fill_with_names_of_ours, lock_by_another_program, lock_emptily, link_lock]
)
def test_a_folder_that_is_not_ours_is_refused_and_stays_as_it_is(
    make: Callable[[Path], None], output: Path, folder: Path
) -> None:
    make(folder)
    before = read_tree(folder.parent)
    with pytest.raises(OutputError, match=r"wsisr-part.*: is (a link, which|no work folder of wsisr; move it)"):
        PartFolder(output)
    WorkFolder(IDENTITY).remove_leftovers(output)
    assert read_tree(folder.parent) == before


@pytest.mark.parametrize("names", [(), ("lock",)])
def test_leftovers_that_hold_at_most_a_lock_are_swept(output: Path, folder: Path, names: tuple[str, ...]) -> None:
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    WorkFolder(IDENTITY).remove_leftovers(output)
    assert not folder.exists()


def test_only_work_of_the_same_run_is_swept(output: Path, folder: Path) -> None:
    leave_work(output)
    before = read_tree(folder)
    WorkFolder({"run": "another"}).remove_leftovers(output)
    WorkFolder(IDENTITY, keep=True).remove_leftovers(output)
    assert read_tree(folder) == before
    WorkFolder(IDENTITY).remove_leftovers(output)
    assert not folder.exists()


def test_a_folder_in_use_is_not_swept(output: Path, folder: Path) -> None:
    part = PartFolder(output)
    WorkFolder(IDENTITY).remove_leftovers(output)
    assert folder.is_dir()
    part.release(keep=False)


def test_what_a_killed_run_without_a_record_left_is_taken_over(output: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "lock").write_text(json.dumps({"host": socket.gethostname(), "boot": "", "pid": 1}))
    (folder / "level-0.tiles").write_bytes(b"tiles")
    part = PartFolder(output)
    part.resume_or_clear(None, restart=False)
    assert not part.tiles_path(0).exists()
    part.release(keep=False)
    assert not folder.exists()


def test_a_growing_dataset_is_removed_only_by_those_who_make_datasets(output: Path, folder: Path) -> None:
    leave_work(output)
    (folder / DATASET_FOLDER).mkdir()
    part = PartFolder(output)
    part.resume_or_clear({"run": "another"}, restart=True)
    assert not part.tiles_path(0).exists()
    assert (folder / DATASET_FOLDER).is_dir()
    part.release(keep=True)
    dataset = PartFolder(output, content=DATASET_FOLDER)
    dataset.resume_or_clear(IDENTITY, restart=True)
    dataset.release(keep=False)
    assert not folder.exists()
