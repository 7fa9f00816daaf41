"""Pairs from pyramids: what a pair is, that a build is whole and repeatable, and what is refused."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import deque
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.disks import limit_file_size, make_readable_folder, run_as_nobody
from tests.support.pairs import RECIPE, build_small_dataset, read_files, write_blank_slide, write_levels, write_slide
from tests.support.samples import REPOSITORY, make_noise, write_tiff
from wsisr.dataset.builder import BuildOptions, DatasetBuilder
from wsisr.dataset.pyramid import plan_pyramid_dataset
from wsisr.dataset.reader import MANIFEST, PatchStore
from wsisr.dataset.recipe import Recipe
from wsisr.dataset.slides_and_splits import assign_slides
from wsisr.errors import DatasetError, OutputError, WsisrError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import shrink_image
from wsisr.models.loading import load_upscaler
from wsisr.slides import open_slide
from wsisr.slides.region import SlideRegion
from wsisr.upscaling.engine import upscale_region

SIZES = st.builds(Size, st.integers(64, 270), st.integers(64, 200))
FACTORS = st.sampled_from([(2,), (4,), (2, 4), (2, 4, 8), (3, 4)])


@settings(max_examples=20)
@given(size=SIZES, factors=FACTORS)
def test_both_sides_of_a_pair_are_the_levels_own_pixels_of_one_field(
    size: Size, factors: tuple[int, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("dataset")
    path = write_slide(folder / "a.ome.tif", size, factors)
    store = build_small_dataset(folder / "dataset", [path])
    with open_slide(path) as slide:
        for record in store.records:
            box = record.level_box
            assert Box.from_size(slide.info.levels[record.level].size).contains(box)
            assert np.array_equal(store.read_high(record), slide.read(box, record.level))
            field = Box(*(edge // record.scale for edge in (box.left, box.top, box.right, box.bottom)))
            coarser = range(record.level + 1, len(slide.info.levels))
            assert any(np.array_equal(store.read_low(record), slide.read(field, level)) for level in coarser)


@settings(max_examples=15)
@given(size=SIZES)
def test_patches_of_a_level_do_not_overlap(size: Size, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("dataset")
    store = build_small_dataset(folder / "dataset", [write_slide(folder / "a.ome.tif", size)])
    finest = [record for record in store.records if record.level == 0 and record.scale == 2]
    for one, other in combinations(finest, 2):
        assert one.level_box.intersection(other.level_box).size.pixel_count == 0
    assert len(finest) == (size.width // 64) * (size.height // 64)


def test_a_field_that_a_coarser_level_cuts_off_gives_no_pair(tmp_path: Path) -> None:
    finest = make_noise(Size(128, 64))
    levels = [finest, shrink_image(finest, 2, "area")[:, :63]]
    store = build_small_dataset(tmp_path / "dataset", [write_levels(tmp_path / "a.ome.tif", levels, 0.5)])
    assert [record.box for record in store.records] == [(0, 0, 64, 64)]


def test_a_record_tells_pitch_level_and_scale(tmp_path: Path) -> None:
    store = build_small_dataset(
        tmp_path / "dataset", [write_slide(tmp_path / "P7_HE.ome.tif", Size(256, 256), (2, 4), mpp=0.25)]
    )
    facts = {(record.level, record.mpp_hr, record.scale, record.mpp_lr) for record in store.records}
    assert facts == {(0, 0.25, 2, 0.5), (0, 0.25, 4, 1.0), (1, 0.5, 2, 1.0)}
    assert {record.magnification for record in store.records} == {40, 20}
    assert {(record.slide, record.case) for record in store.records} == {("P7_HE.ome.tif", "P7")}


def test_levels_coarser_than_asked_for_give_no_patches(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / "a.ome.tif", Size(256, 256), (2, 4), mpp=0.25)]
    store = build_small_dataset(tmp_path / "dataset", slides, recipe=Recipe(patch_px=64, coarsest_mpp=0.3))
    assert {record.level for record in store.records} == {0}


def test_the_same_slides_give_the_same_bytes(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / "a.ome.tif"), write_slide(tmp_path / "b.ome.tif", seed=9)]
    build_small_dataset(tmp_path / "one", slides, recipe=Recipe(patch_px=64, most_patches=3))
    build_small_dataset(tmp_path / "two", slides, recipe=Recipe(patch_px=64, most_patches=3))
    assert read_files(tmp_path / "one") == read_files(tmp_path / "two")


def test_slides_of_one_name_in_two_folders_keep_their_own_patches(tmp_path: Path) -> None:
    paths = [write_slide(tmp_path / "x" / "a.ome.tif"), write_slide(tmp_path / "y" / "a.ome.tif", seed=5)]
    store = build_small_dataset(tmp_path / "dataset", paths)
    for path, name in zip(paths, ["a.ome.tif", "a.ome~2.tif"], strict=True):
        first = next(record for record in store.records if record.slide == name)
        with open_slide(path) as slide:
            assert np.array_equal(store.read_high(first), slide.read(first.level_box, first.level))


def test_no_case_is_in_two_splits(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / f"P{case}_{stain}.ome.tif") for case in range(6) for stain in ("HE", "PAS")]
    store = build_small_dataset(tmp_path / "dataset", slides, recipe=Recipe(patch_px=64, val_share=0.4))
    splits = {case: {r.split for r in store.records if r.case == case} for case in {r.case for r in store.records}}
    assert len(splits) == 6
    assert set(map(len, splits.values())) == {1}


def test_slides_held_out_are_the_validation_split(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / f"{name}.ome.tif") for name in "abc"]
    store = build_small_dataset(tmp_path / "dataset", slides[:2], slides[2:])
    assert {record.slide for record in store.select_pairs("val", 2)} == {"c.ome.tif"}
    assert {record.slide for record in store.select_pairs("train", 2)} == {"a.ome.tif", "b.ome.tif"}


def test_a_slide_without_tissue_gives_nothing_and_stops_nothing(tmp_path: Path) -> None:
    slides = [write_blank_slide(tmp_path / "glass.ome.tif"), write_slide(tmp_path / "a.ome.tif")]
    assert {record.slide for record in build_small_dataset(tmp_path / "dataset", slides).records} == {"a.ome.tif"}


@pytest.mark.parametrize("kernel", ["area", "bicubic", "lanczos"])
@pytest.mark.parametrize("scale", [2, 4])
@given(seed=st.integers(0, 10**6))
def test_shrinking_keeps_the_mean(scale: int, kernel: str, seed: int) -> None:
    smooth = shrink_image(make_noise(Size(256, 256), seed), 4, "area") // 2 + 64  # nothing that clipping would cut off
    shrunk = shrink_image(smooth, scale, kernel)  # type: ignore[arg-type]
    # Rounding moves each pixel by half a grey level at the most; filters wider than a pixel lean on the border.
    assert shrunk.mean() == pytest.approx(smooth.mean(), abs=0.6 if kernel == "area" else 1.2)


def refused(folder: Path, *slides: Path, recipe: Recipe = RECIPE) -> str:
    """The line with which a build is refused; nothing is left of it."""
    before = read_files(folder.parent)
    with pytest.raises(WsisrError) as error:
        build_small_dataset(folder, slides, recipe=recipe)
    assert read_files(folder.parent) == before
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_gives_no_pairs_is_refused_in_one_line_that_names_it(tmp_path: Path) -> None:
    cases = {
        write_slide(tmp_path / "one.ome.tif", factors=()): "its only level has no other 2, 4 or 8 times as coarse",
        write_slide(tmp_path / "three.ome.tif", factors=(3,)): "its 2 levels have no other 2, 4 or 8 times as coarse",
        write_slide(tmp_path / "bare.ome.tif", mpp=None): "pixel size is not recorded",
        write_slide(tmp_path / "coarse.ome.tif", mpp=3.0): "levels that pair start at 3 um/px, coarser than 2.1",
        write_slide(tmp_path / "small.ome.tif", Size(63, 200)): "smaller than a patch of 64 px",
        tmp_path / "missing.svs": "",
    }
    for path, reason in cases.items():
        assert refused(tmp_path / "dataset", path).startswith(f"{path}: {reason}")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_slide_that_gives_no_pairs_stops_no_other(tmp_path: Path, workers: int) -> None:
    good = [write_slide(tmp_path / f"{name}.ome.tif") for name in "ab"]
    text, torn = tmp_path / "text.svs", write_slide(tmp_path / "torn.ome.tif", Size(512, 512))
    text.write_text("no slide")
    content = torn.read_bytes()
    torn.write_bytes(content[:2000] + bytes(len(content) // 2) + content[2000 + len(content) // 2 :])
    sources = assign_slides([text, good[0], torn, good[1]], [], RECIPE)
    assembly = DatasetBuilder(plan_pyramid_dataset(sources, tmp_path / "dataset", RECIPE, BuildOptions(workers)))
    deque(assembly)
    assert sorted(assembly.failures) == ["text", "torn.ome"]
    assert all(str(path) in assembly.failures[path.stem] for path in (text, torn))
    build_small_dataset(tmp_path / "other", good)
    one, other = (PatchStore(tmp_path / name) for name in ("dataset", "other"))
    assert one.digest == other.digest


def test_slides_without_any_tissue_are_refused(tmp_path: Path) -> None:
    assert "no slide gives a pair" in refused(tmp_path / "dataset", write_blank_slide(tmp_path / "a.ome.tif"))


def test_an_existing_dataset_is_refused_before_any_slide_is_opened(tmp_path: Path) -> None:
    build_small_dataset(tmp_path / "dataset", [write_slide(tmp_path / "a.ome.tif")])
    assert "exists already" in refused(tmp_path / "dataset", tmp_path / "missing.svs")


def test_what_has_the_name_already_stays_and_is_not_replaced_unless_it_is_a_dataset(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.ome.tif")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    for name in ("file", "link", "full"):
        assert "exists already" in refused(tmp_path / name, slide)
        with pytest.raises(OutputError, match=r"is not a folder with a manifest\.jsonl"):
            deque(
                DatasetBuilder(
                    plan_pyramid_dataset(
                        assign_slides([slide], [], RECIPE), tmp_path / name, RECIPE, BuildOptions(overwrite=True)
                    )
                )
            )
    (tmp_path / "empty").mkdir()
    assert build_small_dataset(tmp_path / "empty", [slide]).records


def test_a_dataset_is_replaced_where_that_is_asked_for(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / f"{name}.ome.tif", seed=number) for number, name in enumerate("ab")]
    build_small_dataset(tmp_path / "dataset", slides[:1])
    deque(
        DatasetBuilder(
            plan_pyramid_dataset(
                assign_slides(slides[1:], [], RECIPE), tmp_path / "dataset", RECIPE, BuildOptions(overwrite=True)
            )
        )
    )
    build_small_dataset(tmp_path / "other", slides[1:])
    assert read_files(tmp_path / "dataset") == read_files(tmp_path / "other")


def interrupted(folder: Path, slides: list[Path], after: int) -> None:
    """A build that is left when so many slides are done."""
    steps = iter(DatasetBuilder(plan_pyramid_dataset(assign_slides(slides, [], RECIPE), folder, RECIPE)))
    for progress in steps:
        if progress.done == after:
            steps.close()


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_build_that_was_left_goes_on_and_ends_as_if_it_had_not_been(tmp_path: Path, after: int) -> None:
    slides = [write_slide(tmp_path / f"{name}.ome.tif", seed=number) for number, name in enumerate("abc")]
    build_small_dataset(tmp_path / "whole", slides)
    interrupted(tmp_path / "dataset", slides, after)
    assert not (tmp_path / "dataset").exists()
    assembly = DatasetBuilder(plan_pyramid_dataset(assign_slides(slides, [], RECIPE), tmp_path / "dataset", RECIPE))
    deque(assembly)
    assert assembly.reused_parts == after
    assert read_files(tmp_path / "dataset") == read_files(tmp_path / "whole")
    assert not list(tmp_path.glob("*.wsisr-part"))


def test_a_slide_that_changed_meanwhile_is_cut_again(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / f"{name}.ome.tif") for name in "ab"]
    interrupted(tmp_path / "dataset", slides, 1)
    write_slide(slides[0], seed=5)
    build_small_dataset(tmp_path / "whole", slides)
    build_small_dataset(tmp_path / "dataset", slides)
    assert read_files(tmp_path / "dataset") == read_files(tmp_path / "whole")


def test_another_recipe_does_not_go_on_with_what_was_begun(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / f"{name}.ome.tif") for name in "ab"]
    interrupted(tmp_path / "dataset", slides, 1)
    assert "most_patches 1000, now 3" in refused(tmp_path / "dataset", *slides, recipe=Recipe(64, most_patches=3))
    other = Recipe(64, most_patches=3)
    deque(
        DatasetBuilder(
            plan_pyramid_dataset(
                assign_slides(slides, [], other), tmp_path / "dataset", other, BuildOptions(overwrite=True)
            )
        )
    )
    build_small_dataset(tmp_path / "whole", slides, recipe=other)
    assert read_files(tmp_path / "dataset") == read_files(tmp_path / "whole")


def test_the_number_of_processes_changes_no_byte(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / f"{name}.ome.tif", seed=number) for number, name in enumerate("abc")]
    build_small_dataset(tmp_path / "one", slides)
    deque(
        DatasetBuilder(
            plan_pyramid_dataset(assign_slides(slides, [], RECIPE), tmp_path / "two", RECIPE, BuildOptions(2))
        )
    )
    assert read_files(tmp_path / "one") == read_files(tmp_path / "two")


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
        with run_as_nobody(), pytest.raises(DatasetError, match="cannot be looked into"):
            build_small_dataset(folder / "dataset", [tmp_path])


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.support.pairs import RECIPE
from wsisr.dataset.builder import BuildOptions, DatasetBuilder
from wsisr.dataset.pyramid import plan_pyramid_dataset
from wsisr.dataset.slides_and_splits import assign_slides
folder, *slides = map(Path, sys.argv[1:])
for progress in DatasetBuilder(plan_pyramid_dataset(assign_slides(slides, [], RECIPE), folder, RECIPE)):
    if progress.done == 1:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_build_goes_on_and_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / f"{name}.ome.tif", seed=number) for number, name in enumerate("abc")]
    command = [sys.executable, "-c", KILLED, str(tmp_path / "dataset"), *map(str, slides)]
    assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == -signal.SIGKILL
    assert list(tmp_path.rglob(MANIFEST)) == []
    build_small_dataset(tmp_path / "dataset", slides)
    build_small_dataset(tmp_path / "whole", slides)
    assert read_files(tmp_path / "dataset") == read_files(tmp_path / "whole")


def test_real_slides_give_pairs_whose_sides_show_the_same(shared_slides: Path, tmp_path: Path) -> None:
    path = sorted((shared_slides / "dev").glob("*.svs"))[0]
    store = build_small_dataset(tmp_path / "dataset", [path], recipe=Recipe(most_patches=5))
    for record in store.records:
        difference = shrink_image(store.read_high(record), record.scale, "area").astype(float) - store.read_low(record)
        assert np.abs(difference).mean() < 8


def test_a_plain_tiff_has_no_pairs(tmp_path: Path) -> None:
    assert "its only level" in refused(tmp_path / "d", write_tiff(tmp_path / "a.tif", make_noise(Size(128, 128))))


def test_a_dataset_needs_no_slide_library_to_be_read() -> None:
    script = "import sys, wsisr.dataset.reader, wsisr.training.loop; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"openslide", "tifffile", "zarr", "imagecodecs"}
    assert PatchStore.__module__ in done.stdout.split()


def test_levels_of_another_slide_are_refused(tmp_path: Path) -> None:
    levels = [make_noise(Size(192, 128), 0), make_noise(Size(96, 64), 1)]
    told = refused(tmp_path / "d", write_levels(tmp_path / "a.ome.tif", levels, 0.5))
    assert re.search(r"levels 0 and 1 show different things \(correlation -?0\.\d+\); leave this slide out", told)


def test_a_slide_that_wsisr_wrote_is_taken_only_if_that_is_asked_for(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.ome.tif", Size(512, 512), ())
    written = tmp_path / "a.x2.ome.tif"
    with open_slide(path) as slide:
        deque(upscale_region(SlideRegion(slide, 0), load_upscaler("bicubic", scale=2), written))
    assert "wsisr wrote it" in refused(tmp_path / "d", written)
    deque(
        DatasetBuilder(
            plan_pyramid_dataset(
                assign_slides([written], [], RECIPE), tmp_path / "d", RECIPE, BuildOptions(allow_derived=True)
            )
        )
    )
    assert PatchStore(tmp_path / "d").records


@pytest.mark.parametrize("overlap", [0.0, 0.25])
def test_neighbours_have_no_more_in_common_than_asked_for(tmp_path: Path, overlap: float) -> None:
    path = write_slide(tmp_path / "a.ome.tif", Size(256, 128))
    store = build_small_dataset(tmp_path / "d", [path], recipe=Recipe(64, overlap=overlap))
    boxes = [record.level_box for record in store.records if (record.level, record.scale) == (0, 2)]
    common = [one.intersection(other).size.pixel_count for one, other in combinations(boxes, 2)]
    assert max(common) == overlap * 64 * 64
    assert len(boxes) == (8 if overlap == 0 else 10)
