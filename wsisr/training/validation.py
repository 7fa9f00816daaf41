"""The score that decides which weights are kept: dB above Pillow's bicubic on the validation split."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from wsisr.dataset.store import PatchStore
from wsisr.errors import DatasetError
from wsisr.metrics import BORDER_PX, psnr_of, squared_error
from wsisr.models.precision import has_bf16
from wsisr.pixels import Kernel, Rgb, enlarge, shrink

KERNELS: tuple[Kernel, ...] = ("area", "bicubic")

PATCHES_PER_SLIDE = 12
"""About how many patches of a slide are scored; more where their number is not a multiple of it."""


class Validation:
    """Validation patches of a dataset, the same evenly spread few of every slide each time."""

    def __init__(self, store: PatchStore, scale: int) -> None:
        """Raises `DatasetError` if there are no such patches."""
        self.store, self.scale = store, scale
        slides: dict[str, list[Rgb]] = {}
        for record in store.split("val"):
            if scale in record.scales and record.contrast > 0:
                slides.setdefault(record.slide, []).append(store.high(record))
        self.slides = {name: patches[:: max(1, len(patches) // PATCHES_PER_SLIDE)] for name, patches in slides.items()}
        if not self.slides:
            raise DatasetError(f"{store.folder}: no validation pair at scale {scale}; build one with validation slides")

    def gain(self, network: nn.Module, device: torch.device) -> float:
        """Mean over slides and kernels of PSNR above bicubic, in dB."""
        gains = []
        for key, baseline in self._baseline.items():
            lows, highs = self._pairs(*key)
            outputs = _enlarged(network, lows, device)
            error = np.mean([_error(out, high) for out, high in zip(outputs, highs, strict=True)])
            gains.append(psnr_of(float(error)) - psnr_of(baseline))
        return float(np.mean(gains))

    def _pairs(self, slide: str, kernel: Kernel) -> tuple[list[Rgb], list[Rgb]]:
        highs = self.slides[slide]
        return [shrink(high, self.scale, kernel) for high in highs], highs

    @cached_property
    def _baseline(self) -> dict[tuple[str, Kernel], float]:
        """(slide, kernel) to the mean squared error of bicubic."""
        errors = {}
        for slide in self.slides:
            for kernel in KERNELS:
                lows, highs = self._pairs(slide, kernel)
                pairs = zip(lows, highs, strict=True)
                errors[slide, kernel] = float(
                    np.mean([_error(enlarge(low, self.scale, "bicubic"), high) for low, high in pairs])
                )
        return errors


def _error(image: Rgb, truth: Rgb) -> float:
    inner = slice(BORDER_PX, -BORDER_PX)
    return squared_error(image[inner, inner], truth[inner, inner])


@torch.inference_mode()
def _enlarged(network: nn.Module, lows: list[Rgb], device: torch.device) -> list[Rgb]:
    batch = torch.from_numpy(np.stack(lows)).to(device).permute(0, 3, 1, 2).float().div(255)
    with torch.autocast(device.type, torch.bfloat16, enabled=has_bf16(device)):
        enlarged: Tensor = network(batch.contiguous(memory_format=torch.channels_last))
    return list(enlarged.mul(255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy())
