"""A dataset on disk: what is read is what was written, and damage is one line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.disks import files_end_at
from tests.pairs import files_under, write_dataset
from wsisr.dataset.store import MANIFEST, PatchRecord, PatchStore, new_dataset, write_group, write_manifest
from wsisr.errors import DatasetError, OutputError
from wsisr.pixels import Tiles

NUMBERS = st.integers(0, 10**9)
RECORDS = st.builds(
    PatchRecord,
    group=st.text(),
    index=NUMBERS,
    slide=st.text(),
    case=st.text(),
    split=st.sampled_from(["train", "val"]),
    level=NUMBERS,
    left=NUMBERS,
    top=NUMBERS,
    mpp=st.floats(0.01, 100),
    contrast=st.floats(0, 128),
    scales=st.sampled_from([(2,), (4,), (2, 4)]),
)
PATCHES = arrays.arrays(np.uint8, st.builds(lambda n, p: (n, p, p, 3), st.integers(1, 4), st.integers(1, 6)))


@given(records=st.lists(RECORDS))
def test_a_manifest_is_read_as_it_was_written(
    records: list[PatchRecord], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("dataset")
    write_manifest(folder, records)
    store = PatchStore(folder)
    assert store.records == tuple(records)
    assert sorted(store.split("train") + store.split("val"), key=repr) == sorted(records, key=repr)


@given(patches=PATCHES)
def test_a_group_is_a_plain_numpy_file(patches: Tiles, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, expected = tmp_path_factory.mktemp("dataset"), io.BytesIO()
    write_group(folder, "hr", "a-0", patches, patches.shape[:2])
    np.save(expected, patches)
    assert (folder / "hr" / "a-0.npy").read_bytes() == expected.getvalue()


def test_the_digest_is_that_of_the_patches_not_of_the_place(tmp_path: Path) -> None:
    first, second = write_dataset(tmp_path / "a"), write_dataset(tmp_path / "elsewhere" / "b")
    assert PatchStore(first).digest == PatchStore(second).digest
    write_manifest(second, PatchStore(second).records[1:])
    assert PatchStore(first).digest != PatchStore(second).digest


def test_a_folder_without_a_manifest_is_no_dataset(tmp_path: Path) -> None:
    (write_dataset(tmp_path) / MANIFEST).unlink()
    with pytest.raises(DatasetError, match=r"no dataset here .* make one with wsisr build-dataset"):
        PatchStore(tmp_path)


@pytest.mark.parametrize(
    "content", [b"not JSON\n", b"\xff\xfe", b"[]\n", b'{"group": "a"}\n', b'{"scales": 5}\n', b"5\n"]
)
def test_what_is_no_manifest_is_one_line(tmp_path: Path, content: bytes) -> None:
    (write_dataset(tmp_path) / MANIFEST).write_bytes(content)
    with pytest.raises(DatasetError, match="not a manifest of this version; build the dataset again"):
        _ = PatchStore(tmp_path).records


def npy(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], *, pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array.astype(object) if pickled else array, allow_pickle=pickled)
    return buffer.getvalue()


GOOD = npy(np.zeros((4, 64, 64, 3), np.uint8))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        GOOD[:60],
        GOOD[:-1],
        npy(np.zeros((4, 64, 64, 3), np.float32)),
        npy(np.zeros((64, 64, 3), np.uint8)),
        npy(np.zeros((4, 64, 32, 3), np.uint8)),
        npy(np.zeros((1, 2, 2, 3), np.uint8), pickled=True),
        npy(np.zeros((3, 64, 64, 3), np.uint8)),
        None,
    ],
)
def test_a_damaged_group_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    store = PatchStore(write_dataset(tmp_path))
    path = tmp_path / "hr" / "slide0-0.npy"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DatasetError, match="build the dataset again") as error:
        store.high(store.records[3])
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_dataset_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "dataset"
    with new_dataset(folder) as staging:
        write_dataset(staging)
        assert not folder.exists()
    assert files_under(folder) == files_under(write_dataset(tmp_path / "other"))
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("reason", [KeyboardInterrupt, DatasetError, ValueError])
def test_a_build_that_ends_early_leaves_nothing(tmp_path: Path, reason: type[BaseException]) -> None:
    def fail() -> None:
        with new_dataset(tmp_path / "dataset") as staging:
            write_dataset(staging)
            raise reason

    with pytest.raises(reason):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_may_become_a_dataset(tmp_path: Path) -> None:
    with new_dataset(tmp_path / "dataset") as staging:
        write_dataset(staging)
        (tmp_path / "dataset").mkdir()
    assert PatchStore(tmp_path / "dataset").records


def test_what_has_the_name_already_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    write_dataset(tmp_path / "dataset")
    before = files_under(tmp_path)
    for name in ("file", "link", "dataset"):
        with pytest.raises(DatasetError, match="exists already"), new_dataset(tmp_path / name):
            pass
    assert files_under(tmp_path) == before


def test_the_second_of_two_builds_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    with new_dataset(folder) as staging:
        with pytest.raises(DatasetError, match="another build is writing it or was killed"), new_dataset(folder):
            pass
        write_dataset(staging)
    assert PatchStore(folder).records


def test_a_full_disk_is_one_line_and_leaves_no_group(tmp_path: Path) -> None:
    patches = np.zeros((4, 64, 64, 3), np.uint8)
    with files_end_at(20_000), pytest.raises(OutputError, match="file too large"):
        write_group(tmp_path, "hr", "a-0", patches, (4, 64))
    assert files_under(tmp_path) == {}
