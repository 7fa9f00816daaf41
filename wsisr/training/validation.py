"""What decides which weights are kept: dB above Pillow's bicubic, or texture, on the validation split.

Patches of pyramids are shrunk here, by area mean and by bicubic. Captured and simulated pairs are scored as they are
stored: what their low resolution suffered is what the network is to undo.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from wsisr.dataset.patch_selection import FLAT_CONTRAST
from wsisr.dataset.reader import PatchStore
from wsisr.dataset.records import PatchRecord
from wsisr.errors import DatasetError
from wsisr.imaging.jpeg import for_branch
from wsisr.imaging.metrics import BORDER_PX, psnr_of, squared_error
from wsisr.imaging.pixels import Kernel, Rgb, enlarge, shrink
from wsisr.imaging.texture import texture
from wsisr.models.architectures.mmsrnet import MMSRNet
from wsisr.models.backends.device import has_bf16

KERNELS: tuple[Kernel, ...] = ("area", "bicubic")
"""By which patches of pyramids are shrunk to be enlarged again."""

Low: TypeAlias = Kernel | Literal["stored"]
"""Where low resolution comes from: a kernel, or the dataset's own."""

Goal: TypeAlias = Literal["gain", "texture", "accuracy"]
"""Which of the findings decides: dB, where an adversary judges texture, where a branch learns alone its accuracy."""

STRIP_ROWS = 6

PATCHES_PER_SLIDE = 12
"""About how many patches of a slide are scored; more where their number is not a multiple of it."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a validation found."""

    gain: float
    """dB above Pillow's bicubic: mean over slides, and kernels where there are two, of PSNR."""
    accuracy: float | None
    """Share of the patches at high resolution whose magnification is told right, mean over magnifications.

    None where none is told.
    """
    texture: float | None
    """Distance from the truth's texture, mean over slides and kernels; None where patches are below 88 px."""

    def merit(self, goal: Goal) -> float:
        """What is higher for weights that are to be kept; dB where the goal was not measured."""
        if goal == "texture" and self.texture is not None:
            return -self.texture
        if goal == "accuracy" and self.accuracy is not None:
            return self.accuracy
        return self.gain


class Validation:
    """Validation patches of a dataset, the same evenly spread few of every slide each time."""

    def __init__(self, store: PatchStore, scale: int) -> None:
        """Raises `DatasetError` if there are no such patches."""
        self.store, self.scale = store, scale
        slides: dict[str, list[PatchRecord]] = {}
        for record in store.pairs("val", scale):
            if record.contrast > 0:
                slides.setdefault(record.slide, []).append(record)
        self.records = {name: found[:: max(1, len(found) // PATCHES_PER_SLIDE)] for name, found in slides.items()}
        self.slides = {name: [store.high(record) for record in found] for name, found in self.records.items()}
        if not self.slides:
            raise DatasetError(f"{store.folder}: no validation pair at scale {scale}; build one with validation slides")

    def findings(self, network: nn.Module, device: torch.device) -> Findings:
        """How good a network is, which is in evaluation mode and on that device."""
        accuracy = self.accuracy(network, device) if isinstance(network, MMSRNet) else None
        gains, distances = [], []
        for key, baseline in self._baseline.items():
            outputs = _enlarged(network, self._lows(*key), device)
            pairs = list(zip(outputs, self.slides[key[0]], strict=True))
            gains.append(psnr_of(float(np.mean([_error(*pair) for pair in pairs]))) - psnr_of(baseline))
            found = [texture(_inner(image), _inner(high)) for image, high in pairs]
            distances += [each.distance for each in found if each]
        return Findings(float(np.mean(gains)), accuracy, float(np.mean(distances)) if distances else None)

    def accuracy(self, network: MMSRNet, device: torch.device) -> float | None:
        """Share of the patches at high resolution of which the likeliest magnification is the right one.

        A mean over magnifications, so that guessing the most frequent one gains nothing. Patches are compressed alike
        before, see `imaging.jpeg`. None where no patch with contrast is of a magnification that the network knows.
        """
        told: dict[int, list[bool]] = {}
        for name, records in self.records.items():
            known = [
                (due, high)
                for record, high in zip(records, self.slides[name], strict=True)
                if record.contrast >= FLAT_CONTRAST and (due := network.spec.class_of(record.mpp_hr)) is not None
            ]
            seen = _likeliest(network, [high for _, high in known], device) if known else []
            for (due, _), one in zip(known, seen, strict=True):
                told.setdefault(due, []).append(one == due)
        return fmean(fmean(right) for right in told.values()) if told else None

    def strip(self, network: nn.Module, device: torch.device) -> Rgb:
        """A row for each of a few slides: low resolution (in squares), bicubic, the network, the truth."""
        rows = []
        for name, highs in list(self.slides.items())[:STRIP_ROWS]:
            middle = len(highs) // 2
            low, high = self._lows(name, self._sources(name)[0])[middle], highs[middle]
            squares = low.repeat(self.scale, axis=0).repeat(self.scale, axis=1)
            made = _enlarged(network, [low], device)[0]
            rows.append(np.concatenate([squares, enlarge(low, self.scale, "bicubic"), made, high], axis=1))
        return np.concatenate(rows)

    def _sources(self, slide: str) -> tuple[Low, ...]:
        return KERNELS if self.records[slide][0].kind == "pyramid" else ("stored",)

    def _lows(self, slide: str, low: Low) -> list[Rgb]:
        if low == "stored":
            return [self.store.low(record) for record in self.records[slide]]
        return [shrink(high, self.scale, low) for high in self.slides[slide]]

    @cached_property
    def _baseline(self) -> dict[tuple[str, Low], float]:
        """(slide, low resolution) to the mean squared error of bicubic."""
        errors = {}
        for slide, highs in self.slides.items():
            for source in self._sources(slide):
                pairs = zip(self._lows(slide, source), highs, strict=True)
                errors[slide, source] = float(
                    np.mean([_error(enlarge(low, self.scale, "bicubic"), high) for low, high in pairs])
                )
        return errors


def _inner(image: Rgb) -> Rgb:
    return image[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]


def _error(image: Rgb, truth: Rgb) -> float:
    return squared_error(_inner(image), _inner(truth))


@torch.inference_mode()
def _likeliest(network: MMSRNet, highs: list[Rgb], device: torch.device) -> list[int]:
    """Of each, the index of the magnification that it looks like most."""
    with _arithmetic(device):
        logits = network.logits(_planes([for_branch(high) for high in highs], device))
    likeliest: list[int] = logits.argmax(dim=1).tolist()
    return likeliest


@torch.inference_mode()
def _enlarged(network: nn.Module, lows: list[Rgb], device: torch.device) -> list[Rgb]:
    with _arithmetic(device):
        enlarged: Tensor = network(_planes(lows, device))
    return list(enlarged.mul(255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy())


def _planes(images: list[Rgb], device: torch.device) -> Tensor:
    pixels = torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2).float().div(255)
    return pixels.contiguous(memory_format=torch.channels_last)


def _arithmetic(device: torch.device) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bf16(device))
