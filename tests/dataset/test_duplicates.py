"""Look-alikes between the splits: found whatever compression did to them, and nothing else is taken for one."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from PIL import Image

from tests.support.pairs import build_small_dataset, make_record, write_slide
from tests.support.samples import make_noise
from wsisr.dataset.duplicates import MAX_DIFFERING_BITS, MIN_SET_BITS, find_near_duplicates
from wsisr.dataset.patch_quality import compute_fingerprint
from wsisr.dataset.reader import HEADER
from wsisr.dataset.records import PatchRecord
from wsisr.errors import DatasetError
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb, enlarge_image

BALANCED = 0x00FF00FF00FF00FF


def make_patch(bits: int, split: str, number: int = 0, contrast: float = 40.0) -> PatchRecord:
    record = make_record(f"{split}{number}", split=split)
    return replace(record, fingerprint=f"{bits:016x}", contrast=contrast)


def make_texture(seed: int) -> Rgb:
    return enlarge_image(make_noise(Size(12, 12), seed), 8, "bicubic")


@given(places=st.sets(st.integers(0, 63), max_size=14))
def test_what_differs_in_few_bits_is_a_look_alike(places: set[int]) -> None:
    other = BALANCED ^ sum(1 << place for place in places)
    duplicates = find_near_duplicates([make_patch(BALANCED, "train"), make_patch(other, "val")])
    assert [each.bits for each in duplicates] == [len(places)] * (len(places) <= MAX_DIFFERING_BITS)


def test_only_patches_of_different_splits_are_compared_each_once() -> None:
    twice = make_patch(BALANCED, "val")
    rows = [make_patch(BALANCED, "train"), make_patch(BALANCED, "train", 1), twice, replace(twice, scale=4)]
    assert [(each.train.case, each.val.case) for each in find_near_duplicates(rows)] == [
        ("train0", "val0"),
        ("train1", "val0"),
    ]
    assert find_near_duplicates(rows[:2]) == find_near_duplicates(rows[2:]) == find_near_duplicates([]) == []


@pytest.mark.parametrize("bits", [0, (1 << (MIN_SET_BITS - 1)) - 1, (1 << 64) - 1])
def test_glass_and_what_is_flat_look_like_nothing(bits: int) -> None:
    assert find_near_duplicates([make_patch(bits, "train"), make_patch(bits, "val")]) == []
    assert (
        find_near_duplicates([make_patch(BALANCED, "train", contrast=2.0), make_patch(BALANCED, "val", contrast=2.0)])
        == []
    )


@pytest.mark.parametrize("seed", range(5))
def test_compression_hides_nothing_and_another_field_is_no_look_alike(seed: int) -> None:
    file = BytesIO()
    Image.fromarray(make_texture(seed)).save(file, "JPEG", quality=30)
    marks = [
        compute_fingerprint(each)
        for each in (make_texture(seed), np.asarray(Image.open(file)), make_texture(seed + 100))
    ]
    first, stored, other = (int(mark, 16) for mark in marks)
    assert (
        len(find_near_duplicates([make_patch(first, "train"), make_patch(stored, "val"), make_patch(other, "val", 1)]))
        == 1
    )


@pytest.mark.parametrize("mark", ["", "xyz", "0" * 15, "-" + "1" * 15])
def test_a_fingerprint_that_is_none_is_one_line(mark: str) -> None:
    with pytest.raises(DatasetError, match="not 64 bits in hex; build the dataset again"):
        find_near_duplicates([replace(make_record("a"), fingerprint=mark)])


def test_a_slide_that_is_in_both_splits_under_two_names_is_told_of(tmp_path: Path) -> None:
    train, val = write_slide(tmp_path / "a.ome.tif"), write_slide(tmp_path / "b.ome.tif")
    build_small_dataset(tmp_path / "d", [train], [val])
    summary = json.loads((tmp_path / "d" / HEADER).read_text())["look_alikes"]
    assert summary["pairs"] >= 6
    assert {(each["train"]["slide"], each["val"]["slide"]) for each in summary["examples"]} == {
        ("a.ome.tif", "b.ome.tif")
    }
