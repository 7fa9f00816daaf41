"""Nuclei in enlarged images and in the truth, found and compared block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from wsisr.errors import ConfigError, SlideError
from wsisr.evaluation.accumulators import TruthBlock
from wsisr.evaluation.blocks import EvaluationBlock
from wsisr.evaluation.nuclei import Labels, NucleusSegmenter
from wsisr.evaluation.nuclei_matching import Nuclei, NucleiSums, match_points
from wsisr.evaluation.nuclei_scores import NucleiComparison, NucleiScores
from wsisr.imaging.pixels import Rgb
from wsisr.slides import SlideInfo

MARGIN_UM = 16.0
"""Read around a block, so that nuclei at its edge are found as if there were no edge."""

COARSEST_MPP = 1.1
"""Pixel size of the coarsest truth that shows nuclei, in um/px: those of 5 um are as many px wide."""


@dataclass(frozen=True, slots=True)
class NucleiOptions:
    """Whether and how nuclei are compared."""

    segment: NucleusSegmenter | None = None
    """The user's own segmenter; by default the classical one, with its threshold from the truth."""


class NucleiAccumulator:
    """Finds the nuclei of several images and of the truth, block by block."""

    def __init__(self, segment: NucleusSegmenter, mpp: float, images: int) -> None:
        self._segment, self._mpp = segment, mpp
        self._truth, self._sums = NucleiSums(), [NucleiSums() for _ in range(images)]

    def add(self, images: Sequence[Rgb], truth: TruthBlock, block: EvaluationBlock) -> None:
        """Add one block: its images, each (h*scale, w*scale, 3), in the order of the scores."""
        core, scale = truth.boxes.errors, truth.scale
        place = block.input_box.left * scale, block.input_box.top * scale
        true_labels = _find_nuclei(self._segment, truth.high, self._mpp)
        for sums, image in zip([self._truth, *self._sums], [truth.high, *images], strict=True):
            labels = true_labels if image is truth.high else _find_nuclei(self._segment, image, self._mpp)
            nuclei = Nuclei.from_labels(labels, core, place, self._mpp)
            sums.add(nuclei, labels[core.rows, core.columns], true_labels[core.rows, core.columns])

    def compare(self, model: int, bicubic: int) -> NucleiComparison:
        """Return the scores of two of the images, given by their index."""
        truth = self._truth.join_nuclei()
        return NucleiComparison(
            truth_count=len(truth),
            mean_area_um2=float(truth.areas.mean()) if len(truth) else None,
            model=_score_nuclei(self._sums[model], self._truth, truth),
            bicubic=_score_nuclei(self._sums[bicubic], self._truth, truth),
        )


def check_nuclei_pixel_size(info: SlideInfo) -> None:
    """Raise `SlideError` if a slide has no pixel size: nuclei are measured in um."""
    if info.mpp is None:
        raise SlideError(
            f"{info.path}: pixel size is not recorded, and nuclei are measured in um; give it in the column mpp of a "
            "table of slides, or leave out --nuclei"
        )


def nuclei_halo_px(mpp_lr: float) -> int:
    """Return the low-resolution px around a block in which nuclei are looked for, too."""
    return ceil(MARGIN_UM / mpp_lr)


def _find_nuclei(segment: NucleusSegmenter, image: Rgb, mpp: float) -> Labels:
    """Return the labels of nuclei, numbered without gaps. Raises `ConfigError` if the segmenter returns no labels."""
    from skimage.segmentation import relabel_sequential  # noqa: PLC0415 - an extra

    labels = np.asarray(segment(image, mpp))
    if labels.shape != image.shape[:2] or not np.issubdtype(labels.dtype, np.integer) or labels.min(initial=0) < 0:
        raise ConfigError(
            f"the segmenter returned {labels.dtype} of shape {labels.shape} for an image of shape {image.shape}; "
            "it must return whole numbers of at least 0, one for each pixel"
        )
    return np.asarray(relabel_sequential(labels)[0], np.int32)


def _score_nuclei(sums: NucleiSums, truth_sums: NucleiSums, truth: Nuclei) -> NucleiScores:
    nuclei = sums.join_nuclei()
    pairs = match_points(truth.centroids, nuclei.centroids)
    both, area = len(truth) + len(nuclei), truth_sums.area_px + sums.area_px
    true_areas, areas = truth.areas[pairs[:, 0]], nuclei.areas[pairs[:, 1]]
    return NucleiScores(
        count=len(nuclei),
        count_error=(len(nuclei) - len(truth)) / max(1, len(truth)),
        f1=2 * len(pairs) / both if both else 1.0,
        dice=2 * sums.shared_px / area if area else 1.0,
        area_error=float(np.mean(np.abs(areas / true_areas - 1))) if len(pairs) else None,
    )
