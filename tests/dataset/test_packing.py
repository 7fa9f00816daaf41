"""A pack: a spread part of a dataset that stays under its limit and is read like the whole."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.disks import limit_file_size
from tests.support.pairs import make_record, read_files, write_dataset
from wsisr.dataset.builder import DatasetBuilder, DatasetPlan
from wsisr.dataset.codecs import PATCH_CODECS
from wsisr.dataset.packing import MB, DatasetPacking, order_in_turns
from wsisr.dataset.reader import PatchStore
from wsisr.dataset.records import PatchRecord
from wsisr.errors import DatasetError, OutputError, WsisrError
from wsisr.writing.workdir.folder import PartFolder


def pack_dataset(source: Path, folder: Path, limit_mb: float = 45.0, codec: str = "jpeg") -> PatchStore:
    deque(DatasetPacking(source, folder, limit_mb, codec))
    return PatchStore(folder)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("pairs") / "whole")


@settings(max_examples=20)
@given(limit_mb=st.floats(0.0, 0.2), codec=st.sampled_from([*PATCH_CODECS]))
def test_all_files_together_stay_under_the_limit(
    dataset: Path, limit_mb: float, codec: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("packs")
    with suppress(DatasetError):  # a limit under which nothing fits
        pack_dataset(dataset, folder / "pack", limit_mb, codec)
    assert sum(map(len, read_files(folder).values())) <= limit_mb * MB


@pytest.mark.parametrize("codec", PATCH_CODECS)
def test_a_pack_without_a_limit_to_feel_is_the_dataset(dataset: Path, tmp_path: Path, codec: str) -> None:
    whole, pack = PatchStore(dataset), pack_dataset(dataset, tmp_path / "pack", codec=codec)
    assert len(pack.records) == len(whole.records)
    for packed, record in zip(pack.records, whole.records, strict=True):
        assert replace(packed, images=record.images, codec=record.codec) == record
        images = (pack.read_high(packed), whole.read_high(record)), (pack.read_low(packed), whole.read_low(record))
        for image, original in images:
            assert np.abs(image.astype(int) - original).max() <= (0 if codec != "jpeg" else 24)


def test_unfinished_work_of_another_command_is_refused_and_stays(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    part = PartFolder(folder, content="image")
    part.resume_or_clear({"model": "another"}, restart=False)
    part.tiles_path(0).write_bytes(b"hours of work")
    part.release(keep=True)
    before = read_files(part.folder)
    with pytest.raises(OutputError, match="holds the work of a stopped run with model another, now not given"):
        pack_dataset(dataset, folder)
    with pytest.raises(OutputError, match="holds the work of a stopped run with model another, now none"):
        deque(DatasetBuilder(DatasetPlan(folder, [], {"model": "none"})))
    assert read_files(part.folder) == before


def test_a_pack_of_the_same_is_the_same_to_the_byte(dataset: Path, tmp_path: Path) -> None:
    pack_dataset(dataset, tmp_path / "a", 0.05)
    pack_dataset(dataset, tmp_path / "b", 0.05)
    assert read_files(tmp_path / "a") == read_files(tmp_path / "b")


def test_few_patches_are_spread_over_slides_scales_and_splits(dataset: Path, tmp_path: Path) -> None:
    pack = pack_dataset(dataset, tmp_path / "pack", 0.075, "raw")
    assert len(pack.records) == 6
    assert {(each.slide, each.scale) for each in pack.records} == {
        (each.slide, each.scale) for each in PatchStore(dataset).records
    }


def make_records(numbers: list[int]) -> list[PatchRecord]:
    """Records of some slides, of each this number of patches."""
    patches = [make_record(f"{slide}") for slide, number in enumerate(numbers) for _ in range(number)]
    return [replace(each, images={"hr": (place, 1), "lr": (0, 1)}) for place, each in enumerate(patches)]


@given(numbers=st.lists(st.integers(1, 40), min_size=1, max_size=6), first=st.integers(1, 40))
def test_turns_hold_every_patch_once_and_any_first_few_are_spread(numbers: list[int], first: int) -> None:
    records = make_records(numbers)
    turns = order_in_turns(records)
    assert sorted(pairs[0].images["hr"] for pairs in turns) == [each.images["hr"] for each in records]
    counts = [sum(pairs[0].case == str(slide) for pairs in turns[:first]) for slide in range(len(numbers))]
    full = [count for count, number in zip(counts, numbers, strict=True) if count < number]
    assert not full or max(counts) - min(full) <= 1
    places = [pairs[0].images["hr"][0] for pairs in order_in_turns(make_records([64]))[:8]]
    assert sorted(places) == list(range(0, 64, 8))


def get_refusal(*arguments: object, **options: object) -> str:
    with pytest.raises(WsisrError) as error:
        deque(DatasetPacking(*arguments, **options))  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_cannot_be_is_one_line_and_leaves_nothing(dataset: Path, tmp_path: Path) -> None:
    assert "no dataset here" in get_refusal(tmp_path, tmp_path / "pack")
    assert "not one patch fits into 0.01 MB; give a larger --limit-mb" in get_refusal(dataset, tmp_path / "pack", 0.01)
    assert "exists already" in get_refusal(dataset, dataset)
    assert "is the dataset to be packed" in get_refusal(dataset, dataset, overwrite=True)
    assert "known: raw, webp, jpeg, png" in get_refusal(dataset, tmp_path / "pack", codec="zip")
    assert "is not possible" in get_refusal(dataset, tmp_path / "pack", float("nan"))
    with limit_file_size(5000), pytest.raises(OutputError, match="file too large"):
        deque(DatasetPacking(dataset, tmp_path / "pack", codec="raw"))
    assert list(tmp_path.iterdir()) == []
