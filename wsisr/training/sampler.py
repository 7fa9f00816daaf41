"""Batches of pairs: every random choice follows from (seed, step, sample), so a run can resume at any step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from wsisr.dataset.degradation import ARCHIVE, CAPTURE, SCAN, Degradation
from wsisr.dataset.reader import PatchStore
from wsisr.dataset.records import PatchRecord
from wsisr.errors import ConfigError, DatasetError
from wsisr.imaging.density import DensityMatrix, change_densities
from wsisr.imaging.jpeg import recompress_at_random_quality
from wsisr.imaging.pixels import FilterName, Rgb, shrink_image, shrink_to_size
from wsisr.imaging.units import index_of_nearest_magnification
from wsisr.training.config import CAPTURE_KERNELS, PYRAMID_KERNELS, DataConfig
from wsisr.training.crops import Crop
from wsisr.training.stain_augmentation import draw_channel_factors

VARIATION_STREAM = 2
"""Last number of the seed of stain and pixel size; 1 is that of the branch's input."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs as float32 tensors in [0, 1]."""

    low: Tensor
    """(n, 3, p, p)"""
    high: Tensor
    """(n, 3, p*scale, p*scale)"""
    mpp: tuple[float, ...]
    """Pixel size of each low-resolution image, in um/px."""
    branch_input: Tensor | None = None
    """(n, 3, p, p): the low resolution recompressed for a classification branch, see `imaging.jpeg`; or None."""

    def take_part(self, number: int, parts: int) -> Batch:
        """Return one of `parts` parts: pairs `number`, `number + parts`, and so on."""
        if parts == 1:
            return self
        own = slice(number, None, parts)
        return Batch(
            self.low[own], self.high[own], self.mpp[own], None if self.branch_input is None else self.branch_input[own]
        )

    def to(self, device: torch.device) -> Batch:
        """Move to a device, channels last, the layout in which convolutions are fastest."""
        layout = torch.channels_last
        low, high = (pixels.to(device, memory_format=layout) for pixels in (self.low, self.high))
        branch_input = None if self.branch_input is None else self.branch_input.to(device, memory_format=layout)
        return Batch(low, high, self.mpp, branch_input)


class TrainingPair(NamedTuple):
    """One sample of a batch."""

    low: Rgb
    """(p, p, 3)"""
    high: Rgb
    """(p*scale, p*scale, 3)"""
    mpp: float
    """Pixel size of the low resolution, in um/px."""


class BatchSampler:
    """Makes the batch of any step from a dataset's training pairs."""

    def __init__(self, config: DataConfig, scale: int, seed: int, *, with_branch_input: bool = False) -> None:
        """With `with_branch_input`, batches also hold the input of a classification branch.

        Raises `DatasetError` without a dataset or pairs in it, `ConfigError` if a crop is larger than a patch.
        """
        self.config, self.scale, self.seed, self.with_branch_input = config, scale, seed, with_branch_input
        self.store = PatchStore(config.dataset)
        records = [
            record
            for record in self.store.select_pairs("train", scale)
            if _has_magnification(record, config.magnifications)
        ]
        if not records:
            classes = "".join(f" of {value:g}x" for value in config.magnifications)
            raise DatasetError(
                f"{config.dataset}: no training pair{classes} at scale {scale}; build one from other slides"
            )
        side = min(record.side for record in records)
        if config.patch_px * scale > side:
            raise ConfigError(
                f"patch_px = {config.patch_px} times scale {scale} is more than the {side} px of a patch in "
                f"{config.dataset}; choose at most {side // scale}"
            )
        self.records_by_slide = _group_by_slide(records)
        self._coarsest_mpp = max(record.mpp_lr for record in records)
        kernels = config.kernels or (PYRAMID_KERNELS if records[0].kind == "pyramid" else CAPTURE_KERNELS)
        self.kernels = list(kernels)
        self.kernel_shares = np.array(list(kernels.values()), dtype=float)
        self.kernel_shares /= self.kernel_shares.sum()
        self.truth_degradation = Degradation(first=config.truth) if config.truth else None
        self.degradations = {"scan": SCAN, "archive": ARCHIVE, "degraded": config.degradation or CAPTURE}

    def make_batch(self, step: int) -> Batch:
        """Make the batch of a step, independent of other steps. Safe to call from several threads."""
        samples = range(self.config.batch)
        pairs = [self.make_pair(step, sample) for sample in samples]
        lows, highs, pitches = zip(*pairs, strict=True)
        branch_input = self._make_branch_input(step, lows) if self.with_branch_input else None
        return Batch(_to_tensor(lows), _to_tensor(highs), pitches, branch_input)

    def make_pair(self, step: int, sample: int) -> TrainingPair:
        """Make the pair of a sample. Each slide is equally likely, however many patches it has."""
        random = self._create_generator(step, sample)
        record = self._choose_record(random)
        kernel = self.kernels[random.choice(len(self.kernels), p=self.kernel_shares)]
        # A generator of its own, so that what is chosen above is the same with and without these.
        variation = np.random.default_rng((self.seed, step, sample, VARIATION_STREAM))
        stain = self._draw_densities(random, variation)
        is_stored = kernel in ("stored", "pyramid")
        low_side = record.side // self.scale if is_stored else self._draw_low_side(record, variation)
        crop = Crop.draw_random(low_side, self.config.patch_px, random)
        if is_stored:
            low, high = crop.cut(self.store.read_low(record), 1), crop.cut(self.store.read_high(record), self.scale)
            return TrainingPair(_stain(low, stain), _stain(high, stain), record.mpp_lr)
        patch, factor = self.store.read_high(record), record.side / (low_side * self.scale)
        if factor > 1:
            patch = shrink_to_size(patch, low_side * self.scale, low_side * self.scale)
        high = _stain(crop.cut_with_halo(patch, self.scale), stain)
        if self.truth_degradation:
            high, _ = self.truth_degradation(high, 1, record.mpp_hr * factor, random)
        mpp = record.mpp_lr * factor
        low = crop.trim_halo(self._make_low(high, kernel, mpp, random), 1)
        return TrainingPair(low, crop.trim_halo(high, self.scale), mpp)

    def _draw_low_side(self, record: PatchRecord, random: np.random.Generator) -> int:
        """Return the side in px of low resolution that a patch has at a drawn pixel size."""
        side, variation = record.side // self.scale, self.config.pixel_size
        if variation is None:
            return side
        return variation.draw_side(side, self.config.patch_px, self._coarsest_mpp / record.mpp_lr, random)

    def _draw_densities(self, random: np.random.Generator, variation: np.random.Generator) -> DensityMatrix | None:
        jitter, stain = self.config.stain_jitter, self.config.stain
        factors = draw_channel_factors(jitter, random) if jitter else None
        if stain is None:
            return factors
        matrix = stain.draw(variation)
        return matrix if factors is None else np.asarray(matrix @ factors)

    def _make_low(self, high: Rgb, kernel: str, mpp: float, random: np.random.Generator) -> Rgb:
        if kernel in self.degradations:
            return self.degradations[kernel](high, self.scale, mpp, random)[0]
        return shrink_image(high, self.scale, cast("FilterName", kernel))

    def _make_branch_input(self, step: int, lows: Sequence[Rgb]) -> Tensor:
        generators = (np.random.default_rng((self.seed, step, sample, 1)) for sample in range(len(lows)))
        return _to_tensor(
            [recompress_at_random_quality(low, random) for low, random in zip(lows, generators, strict=True)]
        )

    def _create_generator(self, step: int, sample: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, step, sample))

    def _choose_record(self, random: np.random.Generator) -> PatchRecord:
        """Choose the record of a sample; must be the first use of its generator."""
        records = self.records_by_slide[random.integers(len(self.records_by_slide))]
        return records[random.integers(len(records))]


def _has_magnification(record: PatchRecord, magnifications: tuple[float, ...]) -> bool:
    return not magnifications or index_of_nearest_magnification(record.mpp_lr, magnifications) is not None


def _stain(image: Rgb, matrix: DensityMatrix | None) -> Rgb:
    return image if matrix is None else change_densities(image, matrix)


def _to_tensor(images: Sequence[Rgb]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255)


def _group_by_slide(records: list[PatchRecord]) -> list[list[PatchRecord]]:
    slides: dict[str, list[PatchRecord]] = {}
    for record in records:
        slides.setdefault(record.slide, []).append(record)
    return list(slides.values())
