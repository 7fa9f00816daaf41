"""Batches of pairs: every random choice follows from (seed, step, sample), so a run can stop and go on anywhere."""

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
from wsisr.imaging.jpeg import through_any_jpeg
from wsisr.imaging.pixels import Kernel, Rgb, shrink
from wsisr.imaging.units import index_of_nearest_magnification
from wsisr.training.config import OF_CAPTURES, OF_PYRAMIDS, DataConfig
from wsisr.training.crops import Crop
from wsisr.training.stain_augmentation import jitter, stained


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs as float32 tensors in [0, 1]."""

    low: Tensor
    """(n, 3, p, p)"""
    high: Tensor
    """(n, 3, p*scale, p*scale)"""
    mpp: tuple[float, ...]
    """Pixel pitch of each low resolution, in um/px."""
    alike: Tensor | None = None
    """(n, 3, p, p): the low resolution as a magnification is told from, see `imaging.jpeg`; None where none is."""

    def part(self, number: int, parts: int) -> Batch:
        """One of so many parts: pairs `number`, `number + parts`, and so on."""
        if parts == 1:
            return self
        own = slice(number, None, parts)
        return Batch(self.low[own], self.high[own], self.mpp[own], None if self.alike is None else self.alike[own])

    def to(self, device: torch.device) -> Batch:
        """On a device, laid out as convolutions there are fastest."""
        layout = torch.channels_last
        low, high = (pixels.to(device, memory_format=layout) for pixels in (self.low, self.high))
        alike = None if self.alike is None else self.alike.to(device, memory_format=layout)
        return Batch(low, high, self.mpp, alike)


class Batches:
    """Batches of pairs, of step after step."""

    def __init__(self, config: DataConfig, scale: int, seed: int, *, classified: bool = False) -> None:
        """A magnification is to be told of batches that are `classified`.

        Raises `DatasetError` without a dataset or pairs in it, `ConfigError` if a crop is larger than a patch.
        """
        self.config, self.scale, self.seed, self.classified = config, scale, seed, classified
        self.store = PatchStore(config.dataset)
        records = [record for record in self.store.pairs("train", scale) if _wanted(record, config.magnifications)]
        if not records:
            of = "".join(f" of {each:g}x" for each in config.magnifications)
            raise DatasetError(f"{config.dataset}: no training pair{of} at scale {scale}; build one from other slides")
        side = min(record.side for record in records)
        if config.patch_px * scale > side:
            raise ConfigError(
                f"patch_px = {config.patch_px} times scale {scale} is more than the {side} px of a patch in "
                f"{config.dataset}; choose at most {side // scale}"
            )
        self.slides = _by_slide(records)
        kernels = config.kernels or (OF_PYRAMIDS if records[0].kind == "pyramid" else OF_CAPTURES)
        self.kernels = list(kernels)
        self.shares = np.array(list(kernels.values()), dtype=float)
        self.shares /= self.shares.sum()
        self.truth = Degradation(first=config.truth) if config.truth else None
        self.degradations = {"scan": SCAN, "degraded": config.degradation or CAPTURE}

    def of_step(self, step: int) -> Batch:
        """The batch of a step, whichever were made before. Several threads may ask at once."""
        samples = range(self.config.batch)
        pairs = [self.pair(step, sample) for sample in samples]
        pitches = tuple(self._record(self._random(step, sample)).mpp_lr for sample in samples)
        lows = [low for low, _ in pairs]
        seen = self._alike(step, lows) if self.classified else None
        return Batch(_tensor(lows), _tensor([high for _, high in pairs]), pitches, seen)

    def pair(self, step: int, sample: int) -> tuple[Rgb, Rgb]:
        """(p, p, 3) and (p*scale, p*scale, 3). Slides are drawn alike, however many patches they have."""
        random = self._random(step, sample)
        record = self._record(random)
        kernel = self.kernels[random.choice(len(self.kernels), p=self.shares)]
        stain = jitter(self.config.stain_jitter, random) if self.config.stain_jitter else None
        crop = Crop.drawn(record.side // self.scale, self.config.patch_px, random)
        if kernel in ("stored", "pyramid"):
            low, high = crop.of(self.store.low(record), 1), crop.of(self.store.high(record), self.scale)
            return stained(low, stain), stained(high, stain)
        high = stained(crop.window(self.store.high(record), self.scale), stain)
        if self.truth:
            high, _ = self.truth(high, 1, record.mpp_hr, random)
        return crop.inner(self._low(high, kernel, record, random), 1), crop.inner(high, self.scale)

    def _low(self, high: Rgb, kernel: str, record: PatchRecord, random: np.random.Generator) -> Rgb:
        if kernel in self.degradations:
            return self.degradations[kernel](high, self.scale, record.mpp_lr, random)[0]
        return shrink(high, self.scale, cast("Kernel", kernel))

    def _alike(self, step: int, lows: list[Rgb]) -> Tensor:
        numbers = (np.random.default_rng((self.seed, step, sample, 1)) for sample in range(len(lows)))
        return _tensor([through_any_jpeg(low, random) for low, random in zip(lows, numbers, strict=True)])

    def _random(self, step: int, sample: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, step, sample))

    def _record(self, random: np.random.Generator) -> PatchRecord:
        """The first choice of a sample."""
        records = self.slides[random.integers(len(self.slides))]
        return records[random.integers(len(records))]


def _wanted(record: PatchRecord, magnifications: tuple[float, ...]) -> bool:
    return not magnifications or index_of_nearest_magnification(record.mpp_lr, magnifications) is not None


def _tensor(images: list[Rgb]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255)


def _by_slide(records: list[PatchRecord]) -> list[list[PatchRecord]]:
    slides: dict[str, list[PatchRecord]] = {}
    for record in records:
        slides.setdefault(record.slide, []).append(record)
    return list(slides.values())
