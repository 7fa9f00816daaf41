"""Pairs from pyramids: what a pair is, how patches are laid, and which slides are refused."""

from __future__ import annotations

import re
from collections import deque
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.pairs import build_small_dataset, get_build_refusal, write_blank_slide, write_levels, write_slide
from tests.support.samples import make_noise, write_tiff
from wsisr.dataset.builder import BuildOptions
from wsisr.dataset.recipe import Recipe
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
    for first, second in combinations(finest, 2):
        assert first.level_box.intersection(second.level_box).size.pixel_count == 0
    assert len(finest) == (size.width // 64) * (size.height // 64)


def test_a_field_that_a_coarser_level_cuts_off_gives_no_pair(tmp_path: Path) -> None:
    finest = make_noise(Size(128, 64))
    levels = [finest, shrink_image(finest, 2, "area")[:, :63]]
    store = build_small_dataset(tmp_path / "dataset", [write_levels(tmp_path / "a.ome.tif", levels, 0.5)])
    assert [record.box for record in store.records] == [(0, 0, 64, 64)]


def test_a_record_tells_pixel_size_level_and_scale(tmp_path: Path) -> None:
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


def test_what_gives_no_pairs_is_refused_in_one_line_that_names_it(tmp_path: Path) -> None:
    three = write_slide(tmp_path / "three.ome.tif", Size(390, 300), factors=(3,))
    cases = {
        write_slide(tmp_path / "one.ome.tif", factors=()): "its only level has no other 2, 4 or 8 times as coarse",
        three: "its 2 levels have no other 2, 4 or 8 times as coarse",
        write_slide(tmp_path / "bare.ome.tif", mpp=None): "pixel size is not recorded",
        write_slide(tmp_path / "coarse.ome.tif", mpp=3.0): "levels that pair start at 3 um/px, coarser than 2.1",
        write_slide(tmp_path / "small.ome.tif", Size(63, 200)): "smaller than a patch of 64 px",
        tmp_path / "missing.svs": "",
    }
    for path, reason in cases.items():
        assert get_build_refusal(tmp_path / "dataset", path).startswith(f"{path}: {reason}")


def test_real_slides_give_pairs_whose_sides_show_the_same(shared_slides: Path, tmp_path: Path) -> None:
    path = sorted((shared_slides / "dev").glob("*.svs"))[0]
    store = build_small_dataset(tmp_path / "dataset", [path], recipe=Recipe(most_patches=5))
    for record in store.records:
        difference = shrink_image(store.read_high(record), record.scale, "area").astype(float) - store.read_low(record)
        assert np.abs(difference).mean() < 8


def test_a_plain_tiff_has_no_pairs(tmp_path: Path) -> None:
    assert "its only level" in get_build_refusal(
        tmp_path / "d", write_tiff(tmp_path / "a.tif", make_noise(Size(128, 128)))
    )


def test_levels_of_another_slide_are_get_build_refusal(tmp_path: Path) -> None:
    levels = [make_noise(Size(192, 128), 0), make_noise(Size(96, 64), 1)]
    message = get_build_refusal(tmp_path / "d", write_levels(tmp_path / "a.ome.tif", levels, 0.5))
    assert re.search(r"levels 0 and 1 show different things \(correlation -?0\.\d+\); leave this slide out", message)


def test_a_slide_that_wsisr_wrote_is_taken_only_if_that_is_asked_for(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.ome.tif", Size(512, 512), ())
    written = tmp_path / "a.x2.ome.tif"
    with open_slide(path) as slide:
        deque(upscale_region(SlideRegion(slide, 0), load_upscaler("bicubic", scale=2), written))
    assert "wsisr wrote it" in get_build_refusal(tmp_path / "d", written)
    assert build_small_dataset(tmp_path / "d", [written], options=BuildOptions(allow_derived=True)).records


@pytest.mark.parametrize("overlap", [0.0, 0.25])
def test_neighbours_have_no_more_in_common_than_asked_for(tmp_path: Path, overlap: float) -> None:
    path = write_slide(tmp_path / "a.ome.tif", Size(256, 128))
    store = build_small_dataset(tmp_path / "d", [path], recipe=Recipe(64, overlap=overlap))
    boxes = [record.level_box for record in store.records if (record.level, record.scale) == (0, 2)]
    common = [first.intersection(second).size.pixel_count for first, second in combinations(boxes, 2)]
    assert max(common) == overlap * 64 * 64
    assert len(boxes) == (8 if overlap == 0 else 10)
