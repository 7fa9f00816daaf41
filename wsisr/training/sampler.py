"""Batches of pairs: every random choice follows from (seed, step, sample), so a run can resume at any step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from wsisr.dataset.degradation import CAPTURE, SCAN, Degradation
from wsisr.dataset.reader import PatchStore
from wsisr.dataset.records import PatchRecord
from wsisr.errors import ConfigError, DatasetError
from wsisr.imaging.jpeg import recompress_at_random_quality
from wsisr.imaging.pixels import FilterName, Rgb, shrink_image
from wsisr.imaging.units import index_of_nearest_magnification
from wsisr.training.config import CAPTURE_KERNELS, PYRAMID_KERNELS, DataConfig
from wsisr.training.crops import Crop
from wsisr.training.stain_augmentation import apply_stain_table, draw_stain_table


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
        kernels = config.kernels or (PYRAMID_KERNELS if records[0].kind == "pyramid" else CAPTURE_KERNELS)
        self.kernels = list(kernels)
        self.kernel_shares = np.array(list(kernels.values()), dtype=float)
        self.kernel_shares /= self.kernel_shares.sum()
        self.truth_degradation = Degradation(first=config.truth) if config.truth else None
        self.degradations = {"scan": SCAN, "degraded": config.degradation or CAPTURE}

    def make_batch(self, step: int) -> Batch:
        """Make the batch of a step, independent of other steps. Safe to call from several threads."""
        samples = range(self.config.batch)
        pairs = [self.make_pair(step, sample) for sample in samples]
        # Drawn again rather than returned by make_pair, which gives pixels only.
        pitches = tuple(self._choose_record(self._create_generator(step, sample)).mpp_lr for sample in samples)
        lows = [low for low, _ in pairs]
        branch_input = self._make_branch_input(step, lows) if self.with_branch_input else None
        return Batch(_to_tensor(lows), _to_tensor([high for _, high in pairs]), pitches, branch_input)

    def make_pair(self, step: int, sample: int) -> tuple[Rgb, Rgb]:
        """Return (p, p, 3) and (p*scale, p*scale, 3). Each slide is equally likely, however many patches it has."""
        random = self._create_generator(step, sample)
        record = self._choose_record(random)
        kernel = self.kernels[random.choice(len(self.kernels), p=self.kernel_shares)]
        stain = draw_stain_table(self.config.stain_jitter, random) if self.config.stain_jitter else None
        crop = Crop.draw_random(record.side // self.scale, self.config.patch_px, random)
        if kernel in ("stored", "pyramid"):
            low, high = crop.cut(self.store.read_low(record), 1), crop.cut(self.store.read_high(record), self.scale)
            return apply_stain_table(low, stain), apply_stain_table(high, stain)
        high = apply_stain_table(crop.cut_with_halo(self.store.read_high(record), self.scale), stain)
        if self.truth_degradation:
            high, _ = self.truth_degradation(high, 1, record.mpp_hr, random)
        return crop.trim_halo(self._make_low(high, kernel, record, random), 1), crop.trim_halo(high, self.scale)

    def _make_low(self, high: Rgb, kernel: str, record: PatchRecord, random: np.random.Generator) -> Rgb:
        if kernel in self.degradations:
            return self.degradations[kernel](high, self.scale, record.mpp_lr, random)[0]
        return shrink_image(high, self.scale, cast("FilterName", kernel))

    def _make_branch_input(self, step: int, lows: list[Rgb]) -> Tensor:
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


def _to_tensor(images: list[Rgb]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255)


def _group_by_slide(records: list[PatchRecord]) -> list[list[PatchRecord]]:
    slides: dict[str, list[PatchRecord]] = {}
    for record in records:
        slides.setdefault(record.slide, []).append(record)
    return list(slides.values())
