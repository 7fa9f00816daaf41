"""A dataset on disk: what is read is what was written, and damage is one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from msgspec.structs import replace

from tests.support.disks import limit_file_size
from tests.support.pairs import make_record, read_files, write_dataset, write_manifest
from wsisr.dataset.codecs import PATCH_CODECS, decode_patch
from wsisr.dataset.reader import MANIFEST, SHARDS, PatchStore
from wsisr.dataset.records import MAGNIFICATIONS, PatchRecord, nearest_magnification
from wsisr.dataset.shard_writer import open_shard_writer
from wsisr.errors import DatasetError, OutputError
from wsisr.imaging.pixels import Rgb

NUMBERS = st.integers(0, 10**9)
RECORDS = st.builds(
    PatchRecord,
    slide=st.text(),
    case=st.text(),
    split=st.sampled_from(["train", "val"]),
    kind=st.sampled_from(["pyramid", "captured", "simulated"]),
    scale=st.sampled_from([2, 4, 8]),
    level=NUMBERS,
    box=st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    mpp_hr=st.floats(0.01, 100),
    mpp_lr=st.floats(0.01, 100),
    magnification=st.sampled_from([5, 10, 20, 40, None]),
    contrast=st.floats(0, 128),
    focus=st.floats(0, 1),
    tissue=st.floats(0, 1),
    fingerprint=st.text(),
    side=st.integers(1, 4096),
    shard=st.sampled_from(["a.bin", "a b~2.bin"]),
    images=st.fixed_dictionaries({"hr": st.tuples(NUMBERS, st.integers(1, 9)), "lr": st.tuples(NUMBERS, st.just(1))}),
    shift=st.none() | st.tuples(st.floats(-9, 9), st.floats(-9, 9)),
    residual=st.none() | st.floats(0, 9),
    parameters=st.dictionaries(st.text(), st.none() | st.booleans() | NUMBERS | st.text()),
)
PATCHES = arrays.arrays(np.uint8, st.integers(1, 9).map(lambda side: (side, side, 3)))


@given(records=st.lists(RECORDS))
def test_a_manifest_is_read_as_it_was_written(
    records: list[PatchRecord], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("dataset")
    write_manifest(folder, records)
    store = PatchStore(folder)
    assert store.records == tuple(records)
    parts = [store.select_pairs(split, scale) for split in ("train", "val") for scale in (2, 4, 8)]
    assert sorted((each for part in parts for each in part), key=repr) == sorted(records, key=repr)


@given(patches=st.lists(PATCHES, min_size=1, max_size=5))
def test_pixels_are_read_as_they_were_kept(patches: list[Rgb], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("dataset")
    with open_shard_writer(folder, "a") as part:
        for patch in patches:
            images = {"hr": part.write_image(patch), "lr": part.write_image(patch)}
            part.add_record(replace(make_record("a"), scale=1, side=len(patch), images=images))
    write_manifest(folder, part.records)
    store = PatchStore(folder)
    for patch, row in zip(patches, store.records, strict=True):
        assert np.array_equal(store.read_high(row), patch)
        assert np.array_equal(store.read_low(row), patch)


@pytest.mark.parametrize("codec", PATCH_CODECS)
@given(patch=PATCHES)
def test_codecs_give_back_the_pixels(codec: str, patch: Rgb) -> None:
    found = decode_patch(memoryview(PATCH_CODECS[codec](patch)), codec, len(patch))
    assert found.shape == patch.shape
    assert codec == "jpeg" or np.array_equal(found, patch)


@pytest.mark.parametrize("codec", [*PATCH_CODECS, "pickle"])
@given(content=st.binary(max_size=60))
def test_bytes_that_are_no_patch_are_refused(codec: str, content: bytes) -> None:
    with pytest.raises(DatasetError):
        decode_patch(memoryview(content), codec, 64)


def test_a_magnification_is_that_of_its_pitch() -> None:
    assert [nearest_magnification(10 / each) for each in MAGNIFICATIONS] == list(MAGNIFICATIONS)
    assert [nearest_magnification(mpp) for mpp in (0.2525, 0.34, 0.36, 2.7, 2.9, 0.17)] == [40, 40, 20, 5, None, None]


def test_the_digest_is_that_of_the_patches_not_of_the_place(tmp_path: Path) -> None:
    first, second = write_dataset(tmp_path / "a"), write_dataset(tmp_path / "elsewhere" / "b")
    assert PatchStore(first).digest == PatchStore(second).digest
    write_manifest(second, PatchStore(second).records[1:])
    assert PatchStore(first).digest != PatchStore(second).digest


def test_a_folder_without_a_manifest_is_no_dataset(tmp_path: Path) -> None:
    (write_dataset(tmp_path) / MANIFEST).unlink()
    with pytest.raises(DatasetError, match=r"no dataset here .* make one with wsisr build-dataset"):
        PatchStore(tmp_path)


def changed(**values: object) -> bytes:
    return json.dumps(json.loads(make_record("a").to_json()) | values).encode() + b"\n"


@pytest.mark.parametrize(
    "content",
    [
        b"not JSON\n",
        b"\xff\xfe",
        b"[]\n",
        b'{"slide": "a"}\n',
        b"5\n",
        changed(shard="../../secret"),
        changed(shard=""),
        changed(scale=0),
        changed(side=1.5),
        changed(images={"hr": [0, 3]}),
        changed(images={"hr": [-1, 3], "lr": [0, 3]}),
        changed(images={"hr": "ab", "lr": [0, 3]}),
        changed(images=[1]),
        changed(box=[1, 2]),
        changed(other=1),
    ],
)
def test_what_is_no_manifest_is_one_line(tmp_path: Path, content: bytes) -> None:
    (write_dataset(tmp_path) / MANIFEST).write_bytes(content)
    with pytest.raises(DatasetError, match="not a manifest of this version; build the dataset again"):
        _ = PatchStore(tmp_path).records


def test_a_wrong_row_of_a_manifest_is_named_with_its_key(tmp_path: Path) -> None:
    write_manifest(tmp_path, [make_record("a"), make_record("b")])
    with (tmp_path / MANIFEST).open("ab") as file:
        file.write(changed(images={"hr": [0, 3], "lr": [0, "3"]}))
    with pytest.raises(DatasetError, match=r"Expected `int`, got `str` - at `\$\[2\]\.images"):
        _ = PatchStore(tmp_path).records


@pytest.mark.parametrize("content", [b"", b"text", b"\0" * 64 * 64 * 3, None])
def test_a_damaged_shard_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    store = PatchStore(write_dataset(tmp_path))
    path = tmp_path / SHARDS / "slide0.bin"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DatasetError, match="build the dataset again") as error:
        store.read_high(store.records[3])
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("reason", [KeyboardInterrupt, DatasetError, ValueError])
def test_a_part_that_ends_early_leaves_nothing(tmp_path: Path, reason: type[BaseException]) -> None:
    def fail() -> None:
        with open_shard_writer(tmp_path, "a") as part:
            part.write_image(np.zeros((8, 8, 3), np.uint8))
            raise reason

    with pytest.raises(reason):
        fail()
    assert read_files(tmp_path) == {}


def test_a_full_disk_is_one_line_and_leaves_no_part(tmp_path: Path) -> None:
    with (
        limit_file_size(20_000),
        pytest.raises(OutputError, match="file too large"),
        open_shard_writer(tmp_path, "a") as part,
    ):
        part.write_image(np.zeros((128, 128, 3), np.uint8))
    assert read_files(tmp_path) == {}
