"""A dataset on disk: what is read is what was written, and damage is one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from msgspec.structs import replace

from tests.support.pairs import make_record, write_dataset, write_manifest
from wsisr.dataset.reader import MANIFEST, SHARDS, PatchStore
from wsisr.dataset.records import PatchRecord
from wsisr.dataset.shard_writer import open_shard_writer
from wsisr.errors import DatasetError
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
    with open_shard_writer(folder, "a") as writer:
        for patch in patches:
            images = {"hr": writer.write_image(patch), "lr": writer.write_image(patch)}
            writer.add_record(replace(make_record("a"), scale=1, side=len(patch), images=images))
    write_manifest(folder, writer.records)
    store = PatchStore(folder)
    for patch, row in zip(patches, store.records, strict=True):
        assert np.array_equal(store.read_high(row), patch)
        assert np.array_equal(store.read_low(row), patch)


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


def test_a_dataset_needs_no_slide_library_to_be_read() -> None:
    script = "import sys, wsisr.dataset.reader, wsisr.training.loop; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"openslide", "tifffile", "zarr", "imagecodecs"}
    assert PatchStore.__module__ in done.stdout.split()
