"""Pairs from pyramids: what a pair is, that a build is whole and repeatable, and what is refused."""

from __future__ import annotations

import signal
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.disks import as_nobody, files_end_at, readable_folder
from tests.pairs import RECIPE, built, files_under, write_glass, write_levels, write_slide
from tests.samples import REPOSITORY, noise, write_tiff
from wsisr.dataset.pyramid import build
from wsisr.dataset.recipe import Recipe
from wsisr.dataset.sources import sources_of
from wsisr.dataset.store import MANIFEST, PatchRecord, PatchStore
from wsisr.errors import DatasetError, OutputError, SlideError, WsisrError
from wsisr.geometry import Box, Size
from wsisr.pixels import shrink
from wsisr.slides import open_slide

SIZES = st.builds(Size, st.integers(64, 270), st.integers(64, 200))
FACTORS = st.sampled_from([(2,), (4,), (2, 4), (2, 4, 8), (3, 4)])


def box_of(record: PatchRecord, side: int) -> Box:
    return Box(record.left, record.top, record.left + side, record.top + side)


@settings(max_examples=20)
@given(size=SIZES, factors=FACTORS)
def test_both_sides_of_a_pair_are_the_levels_own_pixels_of_one_field(
    size: Size, factors: tuple[int, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("dataset")
    path = write_slide(folder / "a.ome.tif", size, factors)
    store = built(folder / "dataset", [path])
    with open_slide(path) as slide:
        for record in store.records:
            box = box_of(record, 64)
            assert Box.of(slide.info.levels[record.level].size).contains(box)
            assert np.array_equal(store.high(record), slide.read(box, record.level))
            for scale in record.scales:
                field = Box(*(edge // scale for edge in (box.left, box.top, box.right, box.bottom)))
                coarser = range(record.level + 1, len(slide.info.levels))
                assert any(np.array_equal(store.low(record, scale), slide.read(field, level)) for level in coarser)


@settings(max_examples=15)
@given(size=SIZES)
def test_patches_of_a_level_do_not_overlap(size: Size, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("dataset")
    store = built(folder / "dataset", [write_slide(folder / "a.ome.tif", size)])
    for one, other in combinations(store.records, 2):
        if one.level == other.level:
            assert box_of(one, 64).intersection(box_of(other, 64)).size.pixels == 0
    finest = [record for record in store.records if record.level == 0]
    assert len(finest) == (size.width // 64) * (size.height // 64)


def test_a_field_that_a_coarser_level_cuts_off_gives_no_pair(tmp_path: Path) -> None:
    levels = [noise(Size(128, 64)), noise(Size(63, 32))]
    store = built(tmp_path / "dataset", [write_levels(tmp_path / "a.ome.tif", levels, 0.5)])
    assert [(record.left, record.top) for record in store.records] == [(0, 0)]


def test_a_record_tells_pitch_level_and_scales(tmp_path: Path) -> None:
    store = built(tmp_path / "dataset", [write_slide(tmp_path / "P7_HE.ome.tif", Size(256, 256), (2, 4), mpp=0.25)])
    facts = {(record.level, record.mpp, record.scales) for record in store.records}
    assert facts == {(0, 0.25, (2, 4)), (1, 0.5, (2,))}
    assert {(record.slide, record.case) for record in store.records} == {("P7_HE.ome.tif", "P7")}


def test_levels_coarser_than_asked_for_give_no_patches(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / "a.ome.tif", Size(256, 256), (2, 4), mpp=0.25)]
    store = built(tmp_path / "dataset", slides, recipe=Recipe(patch_px=64, coarsest_mpp=0.3))
    assert {record.level for record in store.records} == {0}


def test_the_same_slides_give_the_same_bytes(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / "a.ome.tif"), write_slide(tmp_path / "b.ome.tif", seed=9)]
    built(tmp_path / "one", slides, recipe=Recipe(patch_px=64, most_patches=3))
    built(tmp_path / "two", slides, recipe=Recipe(patch_px=64, most_patches=3))
    assert files_under(tmp_path / "one") == files_under(tmp_path / "two")


def test_slides_of_one_name_in_two_folders_keep_their_own_patches(tmp_path: Path) -> None:
    paths = [write_slide(tmp_path / "x" / "a.ome.tif"), write_slide(tmp_path / "y" / "a.ome.tif", seed=5)]
    store = built(tmp_path / "dataset", paths)
    for path, name in zip(paths, ["a.ome.tif", "a.ome~2.tif"], strict=True):
        first = next(record for record in store.records if record.slide == name)
        with open_slide(path) as slide:
            assert np.array_equal(store.high(first), slide.read(box_of(first, 64), first.level))


def test_no_case_is_in_two_splits(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / f"P{case}_{stain}.ome.tif") for case in range(6) for stain in ("HE", "PAS")]
    store = built(tmp_path / "dataset", slides, recipe=Recipe(patch_px=64, val_share=0.4))
    splits = {case: {r.split for r in store.records if r.case == case} for case in {r.case for r in store.records}}
    assert len(splits) == 6
    assert set(map(len, splits.values())) == {1}


def test_slides_held_out_are_the_validation_split(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / f"{name}.ome.tif") for name in "abc"]
    store = built(tmp_path / "dataset", slides[:2], slides[2:])
    assert {record.slide for record in store.split("val")} == {"c.ome.tif"}
    assert {record.slide for record in store.split("train")} == {"a.ome.tif", "b.ome.tif"}


def test_a_slide_without_tissue_gives_nothing_and_stops_nothing(tmp_path: Path) -> None:
    slides = [write_glass(tmp_path / "glass.ome.tif"), write_slide(tmp_path / "a.ome.tif")]
    assert {record.slide for record in built(tmp_path / "dataset", slides).records} == {"a.ome.tif"}


@pytest.mark.parametrize("kernel", ["area", "bicubic", "lanczos"])
@pytest.mark.parametrize("scale", [2, 4])
@given(seed=st.integers(0, 10**6))
def test_shrinking_keeps_the_mean(scale: int, kernel: str, seed: int) -> None:
    smooth = shrink(noise(Size(256, 256), seed), 4, "area") // 2 + 64  # nothing that clipping would cut off
    shrunk = shrink(smooth, scale, kernel)  # type: ignore[arg-type]
    # Rounding moves each pixel by half a grey level at the most; filters wider than a pixel lean on the border.
    assert shrunk.mean() == pytest.approx(smooth.mean(), abs=0.6 if kernel == "area" else 1.2)


def refused(folder: Path, *slides: Path, recipe: Recipe = RECIPE) -> str:
    """The line with which a build is refused; nothing is left of it."""
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(WsisrError) as error:
        built(folder, slides, recipe=recipe)
    assert sorted(folder.parent.rglob("*")) == before
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_gives_no_pairs_is_refused_in_one_line_that_names_it(tmp_path: Path) -> None:
    good = write_slide(tmp_path / "good.ome.tif")
    cases = {
        write_slide(tmp_path / "one.ome.tif", factors=()): "its only level has no other 2 or 4 times as coarse",
        write_slide(tmp_path / "three.ome.tif", factors=(3,)): "its 2 levels have no other 2 or 4 times as coarse",
        write_slide(tmp_path / "bare.ome.tif", mpp=None): "pixel pitch is not recorded",
        write_slide(tmp_path / "coarse.ome.tif", mpp=3.0): "levels that pair start at 3 um/px, coarser than 2.1",
        write_slide(tmp_path / "small.ome.tif", Size(63, 200)): "smaller than a patch of 64 px",
    }
    for path, reason in cases.items():
        assert refused(tmp_path / "out" / "dataset", good, path).startswith(f"{path}: {reason}")


def test_what_is_no_slide_is_refused_before_a_patch_is_read(tmp_path: Path) -> None:
    good = write_slide(tmp_path / "good.ome.tif")
    text = tmp_path / "text.svs"
    text.write_text("no slide")
    for path in (text, tmp_path / "missing.svs"):
        with pytest.raises(SlideError):
            next(build(sources_of([good, path], [], RECIPE), tmp_path / "dataset", RECIPE))
        assert str(path) in refused(tmp_path / "dataset", good, path)


def test_slides_without_any_tissue_are_refused(tmp_path: Path) -> None:
    assert "no patch of any slide has contrast" in refused(tmp_path / "dataset", write_glass(tmp_path / "a.ome.tif"))


def test_a_slide_that_breaks_off_within_leaves_no_dataset(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.ome.tif", Size(512, 512))
    content = path.read_bytes()
    path.write_bytes(content[:2000] + bytes(len(content) // 2) + content[2000 + len(content) // 2 :])
    assert str(path) in refused(tmp_path / "dataset", write_slide(tmp_path / "good.ome.tif"), path)


def test_an_existing_dataset_is_refused_before_any_slide_is_opened(tmp_path: Path) -> None:
    built(tmp_path / "dataset", [write_slide(tmp_path / "a.ome.tif")])
    before = files_under(tmp_path)
    assert "exists already" in refused(tmp_path / "dataset", tmp_path / "missing.svs")
    assert files_under(tmp_path) == before


def test_leaving_early_leaves_nothing(tmp_path: Path) -> None:
    steps = build(sources_of([write_slide(tmp_path / "a.ome.tif", Size(256, 256))], [], RECIPE), tmp_path / "d", RECIPE)
    assert [next(steps).done, next(steps).done] == [0, 1]
    steps.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.ome.tif"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.ome.tif")
    with files_end_at(20_000), pytest.raises(OutputError, match="file too large; "):
        built(tmp_path / "dataset", [path])
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_without_permission_is_one_line(tmp_path: Path) -> None:
    with readable_folder() as folder:
        path = write_slide(folder / "a.ome.tif")
        for hidden in (folder / "dataset", tmp_path / "dataset"):
            with as_nobody(), pytest.raises(OutputError, match="permission denied; choose a folder that you may write"):
                built(hidden, [path])
        with as_nobody(), pytest.raises(DatasetError, match="cannot be looked into"):
            built(folder / "dataset", [tmp_path])


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.pairs import RECIPE
from wsisr.dataset.pyramid import build
from wsisr.dataset.sources import sources_of
for progress in build(sources_of([Path(sys.argv[1])], [], RECIPE), Path(sys.argv[2]), RECIPE):
    if progress.done == 1:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_build_leaves_no_dataset_and_says_what_to_do(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.ome.tif", Size(256, 256))
    run = subprocess.run([sys.executable, "-c", KILLED, path, tmp_path / "dataset"], cwd=REPOSITORY, check=False)
    assert run.returncode == -signal.SIGKILL
    assert list(tmp_path.rglob(MANIFEST)) == []
    assert "dataset.partial: another build is writing it or was killed" in refused(tmp_path / "dataset", path)


def test_real_slides_give_pairs_whose_sides_show_the_same(shared_slides: Path, tmp_path: Path) -> None:
    path = sorted((shared_slides / "dev").glob("*.svs"))[0]
    store = built(tmp_path / "dataset", [path], recipe=Recipe(most_patches=5))
    for record in store.records:
        for scale in record.scales:
            difference = shrink(store.high(record), scale, "area").astype(float) - store.low(record, scale)
            assert np.abs(difference).mean() < 8


def test_a_plain_tiff_has_no_pairs(tmp_path: Path) -> None:
    assert "its only level" in refused(tmp_path / "d", write_tiff(tmp_path / "a.tif", noise(Size(128, 128))))


def test_a_dataset_needs_no_slide_library_to_be_read() -> None:
    script = "import sys, wsisr.dataset.store, wsisr.training.loop; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"openslide", "tifffile", "zarr", "imagecodecs"}
    assert PatchStore.__module__ in done.stdout.split()
