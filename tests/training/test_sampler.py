"""Pairs for training: they follow from (seed, step, sample) alone, and both sides show the same field."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.pairs import write_dataset, write_manifest
from tests.support.samples import make_noise
from wsisr.dataset.degradation import DegradationRound
from wsisr.dataset.degradation_steps import Jpeg
from wsisr.dataset.reader import PatchStore
from wsisr.errors import ConfigError, DatasetError
from wsisr.imaging.density import change_densities
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb, average_blocks, shrink_image
from wsisr.training.config import DATA_PRESETS, DataConfig
from wsisr.training.crops import Crop
from wsisr.training.pixel_size_variation import PixelSizeVariation
from wsisr.training.sampler import BatchSampler
from wsisr.training.stain_augmentation import StainVariation, draw_channel_factors

STEPS = st.integers(0, 10**6)
SAMPLES = st.integers(0, 64)
MIXED = {"area": 0.4, "bicubic": 0.3, "lanczos": 0.1, "pyramid": 0.2}


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("pairs"))


def batches(dataset: Path, kernels: dict[str, float] | None = None, *, scale: int = 2, seed: int = 0) -> BatchSampler:
    return BatchSampler(DataConfig(dataset, patch_px=8, batch=3, kernels=kernels or MIXED), scale, seed)


def within_rounding(one: Rgb, other: Rgb) -> bool:
    """Pillow shrinks rows, rounds, then shrinks columns: what was turned first differs by a grey level."""
    return int(np.abs(one.astype(int) - other).max()) <= 1


@given(step=STEPS, sample=SAMPLES)
def test_a_pair_depends_on_seed_step_and_sample_only(dataset: Path, step: int, sample: int) -> None:
    one, other = batches(dataset), batches(dataset)
    other.make_pair(step + 1, sample)
    (low, high, mpp), again = one.make_pair(step, sample), other.make_pair(step, sample)
    assert np.array_equal(low, again.low)
    assert np.array_equal(high, again.high)
    assert mpp == again.mpp


def test_only_the_magnifications_that_were_asked_for_are_trained_on(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path, mpps=(0.5, 0.25, 0.5))
    chosen = [
        BatchSampler(DataConfig(folder, 8, magnifications=each), 2, 0) for each in ((), (10.0,), (20.0,), (10.0, 20.0))
    ]
    pitches = [{record.mpp_lr for records in each.records_by_slide for record in records} for each in chosen]
    assert pitches == [{0.5, 1.0}, {1.0}, {0.5}, {0.5, 1.0}]
    with pytest.raises(DatasetError, match="no training pair of 5x at scale 2"):
        BatchSampler(DataConfig(folder, 8, magnifications=(5.0,)), 2, 0)


def test_pairs_of_other_seeds_steps_or_samples_differ(dataset: Path) -> None:
    pairs = [batches(dataset, seed=seed).make_pair(step, i) for seed in (0, 1) for step in (0, 1) for i in (0, 1)]
    assert len({high.tobytes() for _, high, _ in pairs}) == len(pairs)


@given(start=st.integers(0, 6))
def test_starting_at_a_step_gives_the_tail_of_starting_at_the_first(dataset: Path, start: int) -> None:
    whole = list(map(batches(dataset).make_batch, range(8)))
    tail = list(map(batches(dataset).make_batch, range(start, 8)))
    for batch, own in zip(whole[start:], tail, strict=True):
        assert torch.equal(batch.low, own.low)
        assert torch.equal(batch.high, own.high)
        assert batch.mpp == own.mpp == (1.0,) * 3


@pytest.mark.parametrize("scale", [2, 4])
@given(step=STEPS, sample=SAMPLES)
def test_both_crops_show_one_field_turned_alike(dataset: Path, scale: int, step: int, sample: int) -> None:
    low, high, _ = batches(dataset, {"area": 1.0}, scale=scale).make_pair(step, sample)
    assert low.shape == (8, 8, 3)
    assert within_rounding(shrink_image(np.ascontiguousarray(high), scale, "area"), low)


@given(step=STEPS, sample=SAMPLES)
def test_pyramid_pairs_take_the_stored_low_resolution(dataset: Path, step: int, sample: int) -> None:
    low, high, _ = batches(dataset, {"pyramid": 1.0}).make_pair(step, sample)
    assert within_rounding(shrink_image(np.ascontiguousarray(high), 2, "area"), low)  # how this dataset was made


@settings(max_examples=20)
@given(step=STEPS, sample=SAMPLES)
def test_a_crop_is_a_turned_or_mirrored_piece_of_a_training_patch(dataset: Path, step: int, sample: int) -> None:
    high = batches(dataset).make_pair(step, sample).high
    store = PatchStore(dataset)
    turned = [np.rot90(side, turns) for side in (high, high[:, ::-1]) for turns in range(4)]
    pieces = {
        np.ascontiguousarray(patch[top : top + 16, left : left + 16]).tobytes()
        for patch in map(store.read_high, store.select_pairs("train", 2))
        for top in range(0, 49, 2)
        for left in range(0, 49, 2)
    }
    assert pieces & {np.ascontiguousarray(image).tobytes() for image in turned}


def test_slides_are_drawn_alike_however_many_patches_they_have(tmp_path: Path) -> None:
    store = PatchStore(write_dataset(tmp_path))
    kept = store.select_pairs("train", 2)[3:]
    write_manifest(tmp_path, kept)  # one patch of the first slide, four of the second
    made = batches(tmp_path, {"area": 1.0})
    first = store.read_high(kept[0])
    pieces = {first[top : top + 16, left : left + 16].tobytes() for top in range(0, 49, 2) for left in range(0, 49, 2)}
    hits = 0
    for sample in range(400):
        high = made.make_pair(0, sample).high
        turned = [np.rot90(side, turns) for side in (high, high[:, ::-1]) for turns in range(4)]
        hits += bool(pieces & {np.ascontiguousarray(image).tobytes() for image in turned})
    assert hits == pytest.approx(200, abs=40)


def test_batches_are_numbers_from_zero_to_one(dataset: Path) -> None:
    batch = batches(dataset).make_batch(0)
    low, high = batch.low, batch.high
    assert (low.shape, high.shape) == ((3, 3, 8, 8), (3, 3, 16, 16))
    assert low.dtype == high.dtype == torch.float32
    assert 0 <= min(low.min(), high.min()) < max(low.max(), high.max()) <= 1


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_the_parts_of_a_batch_are_all_of_it(dataset: Path, parts: int) -> None:
    batch = BatchSampler(DataConfig(dataset, patch_px=8, batch=6, kernels=MIXED), 2, 0).make_batch(0)
    shares = [batch.take_part(number, parts) for number in range(parts)]
    assert sorted(map(tensor_bytes, batch.low)) == sorted(tensor_bytes(low) for share in shares for low in share.low)
    assert [len(share.mpp) for share in shares] == [6 // parts] * parts


def tensor_bytes(pixels: Tensor) -> bytes:
    return pixels.numpy().tobytes()


@given(step=STEPS, sample=SAMPLES)
def test_stains_vary_alike_on_both_sides(dataset: Path, step: int, sample: int) -> None:
    varied = BatchSampler(DataConfig(dataset, patch_px=8, batch=3, kernels={"area": 1.0}, stain_jitter=0.3), 2, 0)
    low, high, _ = varied.make_pair(step, sample)
    assert within_rounding(shrink_image(np.ascontiguousarray(high), 2, "area"), low)


@given(step=STEPS, sample=SAMPLES)
def test_the_low_side_is_made_of_a_truth_that_was_stored(dataset: Path, step: int, sample: int) -> None:
    plain, stored = (
        BatchSampler(DataConfig(dataset, patch_px=8, batch=3, kernels={"area": 1.0}, truth=truth), 2, 0)
        for truth in (None, DegradationRound(jpeg=Jpeg()))
    )
    low, high, _ = stored.make_pair(step, sample)
    assert within_rounding(shrink_image(np.ascontiguousarray(high), 2, "area"), low)
    assert not np.array_equal(high, plain.make_pair(step, sample)[1])  # noise, of which no JPEG leaves all


@given(st.integers(24, 96), st.integers(8, 24), st.integers(0, 2**32))
def test_a_crop_out_of_its_window_is_the_crop_out_of_the_patch(patch: int, side: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    image, crop = random.integers(0, 256, (2 * patch, 2 * patch, 3), np.uint8), Crop.draw_random(patch, side, random)
    assert np.array_equal(crop.trim_halo(crop.cut_with_halo(image, 2), 2), crop.cut(image, 2))
    assert crop.cut(image, 2).shape == (2 * side, 2 * side, 3)


def test_threads_may_make_batches_in_any_order(dataset: Path) -> None:
    alone = list(map(batches(dataset).make_batch, range(12)))
    with ThreadPoolExecutor(4) as pool:
        shared = list(pool.map(batches(dataset).make_batch, range(12)))
    assert all(torch.equal(one.high, other.high) for one, other in zip(alone, shared, strict=True))


def test_stains_vary_and_glass_does_not() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    stained = [change_densities(ramp, draw_channel_factors(0.2, np.random.default_rng(seed)))[0] for seed in range(20)]
    assert len({levels.tobytes() for levels in stained}) == 20
    assert all((levels[255] == 255).all() for levels in stained)
    assert all((np.diff(levels.astype(int), axis=0) >= 0).all() for levels in stained)
    assert np.array_equal(change_densities(ramp, draw_channel_factors(0.0, np.random.default_rng(0))), ramp)


@given(seed=st.integers(0, 10**6), factor=st.sampled_from([0.1, 0.3, 1.5]))
def test_faded_stains_have_that_share_of_their_density(seed: int, factor: float) -> None:
    image = make_noise(Size(8, 8), seed) // 2 + 64
    matrix = StainVariation((factor, factor), 1.0, mixing=0.2).draw(np.random.default_rng(seed))
    faded = change_densities(image, matrix)
    density = -np.log((image + 1.0) / 256) @ matrix.T
    assert np.abs(faded - (256 * np.exp(-density.clip(min=0)) - 1)).max() <= 0.51
    grey = np.full((1, 1, 3), 100, np.uint8)
    assert np.ptp(change_densities(grey, matrix)) <= 1  # grey stays grey, whatever is mixed
    assert change_densities(grey, matrix)[0, 0, 0] == pytest.approx(256 * (101 / 256) ** factor - 1, abs=1)


def vary(dataset: Path, **values: Any) -> BatchSampler:
    return BatchSampler(DataConfig(dataset, patch_px=8, batch=3, **{"kernels": {"area": 1.0}} | values), 2, 0)


def test_density_and_pixel_size_leave_all_other_choices_as_they_were(dataset: Path) -> None:
    plain = vary(dataset)
    same = vary(dataset, stain=StainVariation((1.0, 1.0)), pixel_size=PixelSizeVariation(share=0.0))
    assert torch.equal(plain.make_batch(3).high, same.make_batch(3).high)
    faded = vary(dataset, stain=StainVariation((0.1, 0.1), 1.0)).make_batch(3)
    assert torch.allclose(
        faded.high.mul(255).add(1).div(256), plain.make_batch(3).high.mul(255).add(1).div(256) ** 0.1, atol=0.003
    )


def test_pixel_sizes_lie_between_those_of_the_slides_and_both_sides_show_one_field(tmp_path: Path) -> None:
    made = vary(write_dataset(tmp_path, mpps=(0.25, 1.0, 0.5)), pixel_size=PixelSizeVariation(3.0, 0.5))
    pairs = [made.make_pair(0, sample) for sample in range(200)]
    assert all(within_rounding(average_blocks(np.ascontiguousarray(high), 2), low) for low, high, _ in pairs)
    sizes = [mpp for _, _, mpp in pairs]
    assert {0.5, 2.0} < set(sizes)
    assert all(mpp == 2.0 or 0.5 <= mpp <= 1.51 for mpp in sizes)  # none is coarser than the coarsest
    between = [mpp for mpp in sizes if 0.5 < mpp < 1.51]
    assert len(set(between)) > 15
    assert len(between) == pytest.approx(50, abs=20)


@settings(max_examples=10)
@given(step=STEPS)
def test_a_batch_of_the_archive_depends_on_seed_and_step_only(dataset: Path, step: int) -> None:
    table = DATA_PRESETS["archive"]
    variations = {"stain": StainVariation(mixing=0.15), "pixel_size": PixelSizeVariation(), "stain_jitter": 0.2}
    one, other = (vary(dataset, kernels=table["kernels"], **variations) for _ in range(2))
    other.make_batch(step + 1)
    batch, again = one.make_batch(step), other.make_batch(step)
    assert torch.equal(batch.low, again.low)
    assert torch.equal(batch.high, again.high)
    assert batch.mpp == again.mpp
    assert batch.low.shape == (3, 3, 8, 8)


def test_no_patch_is_shrunk_below_a_crop(dataset: Path) -> None:
    made = BatchSampler(DataConfig(dataset, patch_px=32, batch=3, pixel_size=PixelSizeVariation(share=1.0)), 2, 0)
    assert made.make_batch(0).mpp == (1.0,) * 3


def test_a_crop_larger_than_a_patch_is_refused(dataset: Path) -> None:
    with pytest.raises(ConfigError, match=r"patch_px = 40 times scale 2 is more than the 64 px .* choose at most 32"):
        BatchSampler(DataConfig(dataset, patch_px=40), 2, 0)


def test_a_dataset_without_training_pairs_is_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, PatchStore(write_dataset(tmp_path)).select_pairs("val", 2))
    with pytest.raises(DatasetError, match="no training pair at scale 2"):
        batches(tmp_path)


def test_a_magnification_is_told_from_the_same_crops_compressed_alike(dataset: Path) -> None:
    plain = batches(dataset).make_batch(3)
    told = BatchSampler(
        DataConfig(dataset, patch_px=8, batch=3, kernels=MIXED), 2, 0, with_branch_input=True
    ).make_batch(3)
    assert plain.branch_input is None
    assert told.branch_input is not None
    assert torch.equal(plain.low, told.low)
    assert torch.equal(plain.high, told.high)
    assert 0 < (told.branch_input - told.low).abs().mean() < 0.2  # these crops are noise, of which JPEG leaves little
    part = told.take_part(1, 3).branch_input
    assert part is not None
    assert torch.equal(part, told.branch_input[1:2])
