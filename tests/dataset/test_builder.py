"""Building a dataset: whole, repeatable and resumable, and what is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from tests.support.disks import limit_file_size, make_readable_folder, run_as_nobody
from tests.support.pairs import (
    build_small_dataset,
    get_build_refusal,
    interrupt_build,
    make_builder,
    make_record,
    read_files,
    write_blank_slide,
    write_slide,
)
from tests.support.samples import REPOSITORY
from wsisr.dataset.builder import BuildOptions, DatasetBuilder, DatasetPlan, StopSignal
from wsisr.dataset.reader import HEADER, MANIFEST, PatchStore
from wsisr.dataset.recipe import Recipe
from wsisr.dataset.shard_writer import ShardWriter
from wsisr.dataset.slide_facts import SlideFacts
from wsisr.errors import DatasetError, OutputError, SlideError
from wsisr.imaging.geometry import Size


@pytest.fixture
def slides(tmp_path: Path) -> list[Path]:
    """Three slides of different pixels."""
    return [write_slide(tmp_path / f"{name}.ome.tif", seed=number) for number, name in enumerate("abc")]


def test_the_same_slides_give_the_same_bytes(slides: list[Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        build_small_dataset(tmp_path / name, slides, recipe=Recipe(patch_px=64, most_patches=3))
    assert read_files(tmp_path / "one") == read_files(tmp_path / "two")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_slide_that_gives_no_pairs_stops_no_other(tmp_path: Path, workers: int) -> None:
    good = [write_slide(tmp_path / f"{name}.ome.tif") for name in "ab"]
    text, torn = tmp_path / "text.svs", write_slide(tmp_path / "torn.ome.tif", Size(512, 512))
    text.write_text("no slide")
    content = torn.read_bytes()
    torn.write_bytes(content[:2000] + bytes(len(content) // 2) + content[2000 + len(content) // 2 :])
    builder = make_builder(tmp_path / "dataset", [text, good[0], torn, good[1]], options=BuildOptions(workers))
    deque(builder)
    assert sorted(builder.failures) == ["text", "torn.ome"]
    assert all(str(path) in builder.failures[path.stem] for path in (text, torn))
    build_small_dataset(tmp_path / "other", good)
    assert PatchStore(tmp_path / "dataset").digest == PatchStore(tmp_path / "other").digest


@dataclass(frozen=True)
class OrderedJob:
    """Gives a pair or fails; if told so, only after another job has failed."""

    name: str
    fails: bool
    failure_marker: Path
    """Created by the job that fails first."""
    waits: bool = False

    @property
    def location(self) -> str:
        return self.name

    @property
    def identity(self) -> Mapping[str, str]:
        return {}

    def __call__(self, writer: ShardWriter, stop: StopSignal) -> SlideFacts:
        while self.waits and not self.failure_marker.exists():
            stop.check()
        if self.fails:
            self.failure_marker.touch()
            raise DatasetError(f"{self.name}: cannot be used")
        images = {name: writer.write_image(np.zeros((side, side, 3), np.uint8)) for name, side in IMAGE_SIDES.items()}
        writer.add_record(replace(make_record(self.name), shard=writer.shard, images=images))
        return SlideFacts(f"{self.name}.svs", self.name, "train", "pyramid")


IMAGE_SIDES = {"hr": 64, "lr": 32}


def test_failures_are_listed_in_the_order_of_the_slides_whichever_fails_first(tmp_path: Path) -> None:
    marker = tmp_path / "failed"
    fails = {"first": True, "second": True, "third": False}
    jobs = [OrderedJob(name, failing, marker, waits=name == "first") for name, failing in fails.items()]
    deque(DatasetBuilder(DatasetPlan(tmp_path / "d", jobs, {}, BuildOptions(workers=2))))
    header = json.loads((tmp_path / "d" / HEADER).read_text())
    assert header["failed"] == ["first: cannot be used", "second: cannot be used"]


def test_slides_without_any_tissue_are_refused(tmp_path: Path) -> None:
    assert "no slide gives a pair" in get_build_refusal(tmp_path / "dataset", write_blank_slide(tmp_path / "a.ome.tif"))


def test_an_existing_dataset_is_refused_before_any_slide_is_opened(slides: list[Path], tmp_path: Path) -> None:
    build_small_dataset(tmp_path / "dataset", slides[:1])
    assert "exists already" in get_build_refusal(tmp_path / "dataset", tmp_path / "missing.svs")


def test_what_has_the_name_already_stays_and_is_not_replaced_unless_it_is_a_dataset(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.ome.tif")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    for name in ("file", "link", "full"):
        assert "exists already" in get_build_refusal(tmp_path / name, slide)
        with pytest.raises(OutputError, match=r"is not a folder with a manifest\.jsonl"):
            build_small_dataset(tmp_path / name, [slide], options=BuildOptions(overwrite=True))
    (tmp_path / "empty").mkdir()
    assert build_small_dataset(tmp_path / "empty", [slide]).records


def test_a_dataset_is_replaced_where_that_is_asked_for(slides: list[Path], tmp_path: Path) -> None:
    build_small_dataset(tmp_path / "dataset", slides[:1])
    build_small_dataset(tmp_path / "dataset", slides[1:], options=BuildOptions(overwrite=True))
    build_small_dataset(tmp_path / "other", slides[1:])
    assert read_files(tmp_path / "dataset") == read_files(tmp_path / "other")


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_build_that_was_left_goes_on_and_ends_as_if_it_had_not_been(
    slides: list[Path], tmp_path: Path, after: int
) -> None:
    build_small_dataset(tmp_path / "whole", slides)
    interrupt_build(tmp_path / "dataset", slides, after)
    assert not (tmp_path / "dataset").exists()
    builder = make_builder(tmp_path / "dataset", slides)
    deque(builder)
    assert builder.reused_parts == after
    assert read_files(tmp_path / "dataset") == read_files(tmp_path / "whole")
    assert not list(tmp_path.glob("*.wsisr-part"))


def test_a_slide_that_changed_meanwhile_is_cut_again(slides: list[Path], tmp_path: Path) -> None:
    interrupt_build(tmp_path / "dataset", slides, 1)
    write_slide(slides[0], seed=5)
    build_small_dataset(tmp_path / "whole", slides)
    build_small_dataset(tmp_path / "dataset", slides)
    assert read_files(tmp_path / "dataset") == read_files(tmp_path / "whole")


def test_another_recipe_does_not_go_on_with_what_was_begun(slides: list[Path], tmp_path: Path) -> None:
    interrupt_build(tmp_path / "dataset", slides, 1)
    other = Recipe(64, most_patches=3)
    assert "most_patches 1000, now 3" in get_build_refusal(tmp_path / "dataset", *slides, recipe=other)
    build_small_dataset(tmp_path / "dataset", slides, recipe=other, options=BuildOptions(overwrite=True))
    build_small_dataset(tmp_path / "whole", slides, recipe=other)
    assert read_files(tmp_path / "dataset") == read_files(tmp_path / "whole")


def test_the_number_of_processes_changes_no_byte(slides: list[Path], tmp_path: Path) -> None:
    for workers in (1, 2):
        build_small_dataset(tmp_path / str(workers), slides, options=BuildOptions(workers))
    assert read_files(tmp_path / "1") == read_files(tmp_path / "2")


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.ome.tif")
    with limit_file_size(20_000), pytest.raises(OutputError, match="file too large; "):
        build_small_dataset(tmp_path / "dataset", [path])
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_without_permission_is_one_line(tmp_path: Path) -> None:
    with make_readable_folder() as folder:
        path = write_slide(folder / "a.ome.tif")
        for hidden in (folder / "dataset", tmp_path / "dataset"):
            with (
                run_as_nobody(),
                pytest.raises(OutputError, match="permission denied; choose a folder that you may write"),
            ):
                build_small_dataset(hidden, [path])
        with run_as_nobody(), pytest.raises(SlideError, match="cannot be looked into"):
            build_small_dataset(folder / "dataset", [tmp_path])


KILLED_BUILD = """
import os, signal, sys
from pathlib import Path
from tests.support.pairs import make_builder
folder, *slides = map(Path, sys.argv[1:])
for progress in make_builder(folder, slides):
    if progress.done == 1:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_build_goes_on_and_ends_as_if_it_had_not_been(slides: list[Path], tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_BUILD, str(tmp_path / "dataset"), *map(str, slides)]
    assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == -signal.SIGKILL
    assert list(tmp_path.rglob(MANIFEST)) == []
    build_small_dataset(tmp_path / "dataset", slides)
    build_small_dataset(tmp_path / "whole", slides)
    assert read_files(tmp_path / "dataset") == read_files(tmp_path / "whole")
