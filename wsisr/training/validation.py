"""Validation: the scores by which the best weights of a run are chosen.

Patches of pyramids are shrunk by area mean, with and without a JPEG after it, and by bicubic, and enlarged again.
Captured and simulated pairs are scored with their stored low resolution, whose degradation the network should undo.
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
from wsisr.imaging.jpeg import recompress_for_classifier, store_as_slide
from wsisr.imaging.metrics import UNSCORED_BORDER_PX, mean_squared_error, psnr_from_error
from wsisr.imaging.pixels import FilterName, Rgb, enlarge_image, shrink_image
from wsisr.imaging.texture import compare_texture
from wsisr.models.architectures.mmsrnet import MMSRNet
from wsisr.models.backends.device import has_fast_bf16

LowResolutionSource: TypeAlias = FilterName | Literal["as-stored", "stored"]
"""Source of the low resolution: a kernel, the area mean stored as JPEG, or the dataset's own image."""

PYRAMID_SOURCES: tuple[LowResolutionSource, ...] = ("as-stored", "area", "bicubic")
"""Sources for patches of pyramids."""

SelectionGoal: TypeAlias = Literal["gain", "texture", "accuracy"]
"""The score that chooses the best weights: PSNR gain; texture with an adversary; accuracy if only a branch learns."""

COMPARISON_ROWS = 6

COMPARISON_COLUMNS = ("input", "bicubic", "model", "truth")
"""What each column of `Validation.draw_comparison` shows."""

VALIDATION_PATCHES_PER_SLIDE = 12
"""Approximate number of scored patches a slide; more if its number of patches is not a multiple of this."""


@dataclass(frozen=True, slots=True)
class ValidationScores:
    """Scores of a network on the validation patches."""

    gain_db: float
    """PSNR minus that of Pillow's bicubic in dB: mean over slides, and over kernels for pyramids."""
    accuracy: float | None
    """Share of the high-resolution patches whose magnification is classified right, mean over magnifications.

    None if the network does not classify.
    """
    texture_distance: float | None
    """Distance from the truth's texture, mean over patches and kernels; None if patches are below 88 px."""

    def score(self, goal: SelectionGoal) -> float:
        """Return the number that is highest for the best weights; the gain in dB if the goal was not measured."""
        if goal == "texture" and self.texture_distance is not None:
            return -self.texture_distance
        if goal == "accuracy" and self.accuracy is not None:
            return self.accuracy
        return self.gain_db


class Validation:
    """Scores networks on a fixed, evenly spread selection of every validation slide's patches."""

    def __init__(self, store: PatchStore, scale: int) -> None:
        """Raises `DatasetError` if the dataset has no validation patches at this scale."""
        self.store, self.scale = store, scale
        candidates: dict[str, list[PatchRecord]] = {}
        for record in store.select_pairs("val", scale):
            if record.contrast > 0:
                candidates.setdefault(record.slide, []).append(record)
        self.records_by_slide = {
            slide: records[:: max(1, len(records) // VALIDATION_PATCHES_PER_SLIDE)]
            for slide, records in candidates.items()
        }
        self.highs_by_slide = {
            slide: [store.read_high(record) for record in records] for slide, records in self.records_by_slide.items()
        }
        if not self.highs_by_slide:
            raise DatasetError(f"{store.folder}: no validation pair at scale {scale}; build one with validation slides")

    def score_network(self, network: nn.Module, device: torch.device) -> ValidationScores:
        """Score a network that is in evaluation mode and on `device`."""
        accuracy = self.measure_accuracy(network, device) if isinstance(network, MMSRNet) else None
        gains, distances = [], []
        for (slide, source), bicubic_error in self._bicubic_errors.items():
            outputs = _enlarge_batch(network, self._make_lows(slide, source), device)
            pairs = list(zip(outputs, self.highs_by_slide[slide], strict=True))
            gains.append(
                psnr_from_error(float(np.mean([_mean_squared_error_inside_border(*pair) for pair in pairs])))
                - psnr_from_error(bicubic_error)
            )
            textures = [compare_texture(_crop_border(image), _crop_border(high)) for image, high in pairs]
            distances += [texture.distance for texture in textures if texture]
        return ValidationScores(float(np.mean(gains)), accuracy, float(np.mean(distances)) if distances else None)

    def measure_accuracy(self, network: MMSRNet, device: torch.device) -> float | None:
        """Return the share of high-resolution patches whose magnification is classified right.

        A mean over magnifications, so that guessing the most frequent one gains nothing. Patches are first recompressed
        alike, see `imaging.jpeg`. None if no patch with contrast has a magnification that the network knows.
        """
        hits: dict[int, list[bool]] = {}
        for slide, records in self.records_by_slide.items():
            labelled = [
                (label, high)
                for record, high in zip(records, self.highs_by_slide[slide], strict=True)
                if record.contrast >= FLAT_CONTRAST
                and (label := network.spec.magnification_class(record.mpp_hr)) is not None
            ]
            predictions = _classify(network, [high for _, high in labelled], device) if labelled else []
            for (label, _), prediction in zip(labelled, predictions, strict=True):
                hits.setdefault(label, []).append(prediction == label)
        return fmean(fmean(class_hits) for class_hits in hits.values()) if hits else None

    def draw_comparison(self, network: nn.Module, device: torch.device) -> Rgb:
        """Draw a row for each of a few slides; its columns are `COMPARISON_COLUMNS`, the input's pixels as squares."""
        rows = []
        for slide, highs in list(self.highs_by_slide.items())[:COMPARISON_ROWS]:
            middle = len(highs) // 2
            low, high = self._make_lows(slide, self._list_sources(slide)[0])[middle], highs[middle]
            squares = low.repeat(self.scale, axis=0).repeat(self.scale, axis=1)
            enlarged = _enlarge_batch(network, [low], device)[0]
            rows.append(np.concatenate([squares, enlarge_image(low, self.scale, "bicubic"), enlarged, high], axis=1))
        return np.concatenate(rows)

    def _list_sources(self, slide: str) -> tuple[LowResolutionSource, ...]:
        return PYRAMID_SOURCES if self.records_by_slide[slide][0].kind == "pyramid" else ("stored",)

    def _make_lows(self, slide: str, source: LowResolutionSource) -> list[Rgb]:
        if source == "stored":
            return [self.store.read_low(record) for record in self.records_by_slide[slide]]
        highs = self.highs_by_slide[slide]
        if source == "as-stored":
            return [store_as_slide(shrink_image(high, self.scale, "area")) for high in highs]
        return [shrink_image(high, self.scale, source) for high in highs]

    @cached_property
    def _bicubic_errors(self) -> dict[tuple[str, LowResolutionSource], float]:
        """Maps (slide, source of low resolution) to the mean squared error of bicubic."""
        errors = {}
        for slide, highs in self.highs_by_slide.items():
            for source in self._list_sources(slide):
                pairs = zip(self._make_lows(slide, source), highs, strict=True)
                errors[slide, source] = float(
                    np.mean(
                        [
                            _mean_squared_error_inside_border(enlarge_image(low, self.scale, "bicubic"), high)
                            for low, high in pairs
                        ]
                    )
                )
        return errors


def _crop_border(image: Rgb) -> Rgb:
    return image[UNSCORED_BORDER_PX:-UNSCORED_BORDER_PX, UNSCORED_BORDER_PX:-UNSCORED_BORDER_PX]


def _mean_squared_error_inside_border(image: Rgb, truth: Rgb) -> float:
    return mean_squared_error(_crop_border(image), _crop_border(truth))


@torch.inference_mode()
def _classify(network: MMSRNet, highs: list[Rgb], device: torch.device) -> list[int]:
    """Return the most likely class index of each image."""
    with _autocast(device):
        logits = network.compute_logits(_to_planes([recompress_for_classifier(high) for high in highs], device))
    indices: list[int] = logits.argmax(dim=1).tolist()
    return indices


@torch.inference_mode()
def _enlarge_batch(network: nn.Module, lows: list[Rgb], device: torch.device) -> list[Rgb]:
    with _autocast(device):
        enlarged: Tensor = network(_to_planes(lows, device))
    return list(enlarged.mul(255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy())


def _to_planes(images: list[Rgb], device: torch.device) -> Tensor:
    pixels = torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2).float().div(255)
    return pixels.contiguous(memory_format=torch.channels_last)


def _autocast(device: torch.device) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bf16(device))
