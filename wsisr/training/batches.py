"""Batches of pairs: every random choice follows from (seed, step, sample), so a run can stop and go on anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor

from wsisr.dataset.degradation import scanned
from wsisr.dataset.store import PatchRecord, PatchStore
from wsisr.errors import ConfigError, DatasetError
from wsisr.pixels import Kernel, Rgb, shrink
from wsisr.training.config import DataConfig


class Batches:
    """Pairs of float32 tensors in [0, 1]: (n, 3, p, p) and (n, 3, p*scale, p*scale), of step after step."""

    def __init__(self, config: DataConfig, scale: int, seed: int) -> None:
        """Raises `DatasetError` without a dataset or pairs in it, `ConfigError` if a crop is larger than a patch."""
        self.config, self.scale, self.seed = config, scale, seed
        self.store = PatchStore(config.dataset)
        records = [record for record in self.store.split("train") if scale in record.scales]
        if not records:
            raise DatasetError(f"{config.dataset}: no training pair at scale {scale}; build one from other slides")
        side = self.store.high(records[0]).shape[0]
        if config.patch_px * scale > side:
            raise ConfigError(
                f"patch_px = {config.patch_px} times scale {scale} is more than the {side} px of a patch in "
                f"{config.dataset}; choose at most {side // scale}"
            )
        self.slides = _by_slide(records)
        self.kernels = list(config.kernels)
        self.shares = np.array(list(config.kernels.values()), dtype=float)
        self.shares /= self.shares.sum()

    def from_step(self, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of that step and all later ones."""
        while True:
            pairs = [self.pair(step, sample) for sample in range(self.config.batch)]
            yield _tensor([low for low, _ in pairs]), _tensor([high for _, high in pairs])
            step += 1

    def pair(self, step: int, sample: int) -> tuple[Rgb, Rgb]:
        """(p, p, 3) and (p*scale, p*scale, 3). Slides are drawn alike, however many patches they have."""
        random = np.random.default_rng((self.seed, step, sample))
        records = self.slides[random.integers(len(self.slides))]
        record = records[random.integers(len(records))]
        kernel = self.kernels[random.choice(len(self.kernels), p=self.shares)]
        high = self.store.high(record)
        low = scanned(high, self.scale, random) if kernel == "scan" else self._low(record, high, kernel)
        return self._crop(low, high, random)

    def _low(self, record: PatchRecord, high: Rgb, kernel: str) -> Rgb:
        """The whole patch at low resolution."""
        if kernel == "pyramid":
            return self.store.low(record, self.scale)
        return shrink(high, self.scale, cast("Kernel", kernel))

    def _crop(self, low: Rgb, high: Rgb, random: np.random.Generator) -> tuple[Rgb, Rgb]:
        """One random crop of both, turned and mirrored alike."""
        side, scale = self.config.patch_px, self.scale
        top, left = random.integers(low.shape[0] - side + 1, size=2)
        turns, mirror = int(random.integers(4)), bool(random.integers(2))
        low = low[top : top + side, left : left + side]
        high = high[top * scale : (top + side) * scale, left * scale : (left + side) * scale]
        return _turned(low, turns, mirror=mirror), _turned(high, turns, mirror=mirror)


def _turned(image: Rgb, turns: int, *, mirror: bool) -> Rgb:
    turned = np.rot90(image, turns)
    return turned[:, ::-1] if mirror else turned


def _tensor(images: list[Rgb]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255)


def _by_slide(records: list[PatchRecord]) -> list[list[PatchRecord]]:
    slides: dict[str, list[PatchRecord]] = {}
    for record in records:
        slides.setdefault(record.slide, []).append(record)
    return list(slides.values())
