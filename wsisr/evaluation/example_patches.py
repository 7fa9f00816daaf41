"""The patches of a level where the model is furthest above bicubic and furthest below, for people to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wsisr.evaluation.scores import compute_gain
from wsisr.imaging.geometry import Box
from wsisr.imaging.metrics import compute_psnr
from wsisr.imaging.pixels import Rgb

PATCH_PX = 128
"""Side of a patch in px of the truth."""

MIN_PATCH_CONTRAST = 6.0
"""Standard deviation in grey levels of the truth below which a patch shows next to nothing."""


@dataclass(frozen=True, eq=False, slots=True)
class ExamplePatch:
    """One patch as the upscalers saw and made it, and the truth."""

    gain: float
    """dB by which the model is above bicubic in this patch."""
    at: tuple[int, int]
    """x and y in px of the truth."""
    low: Rgb
    """(h, w, 3)"""
    bicubic: Rgb
    """(h*scale, w*scale, 3), as are the next two."""
    model: Rgb
    truth: Rgb


class ExampleCollector:
    """Keeps the best and the worst patch of those that are added."""

    def __init__(self) -> None:
        self.best: ExamplePatch | None = None
        self.worst: ExamplePatch | None = None

    def add(self, patch: ExamplePatch) -> None:
        if self.best is None or patch.gain > self.best.gain:
            self.best = patch
        if self.worst is None or patch.gain < self.worst.gain:
            self.worst = patch

    def add_block(self, images: Sequence[Rgb], low: Rgb, box: Box, origin: tuple[int, int]) -> None:
        """Add the whole patches within a box of a block.

        `images` are the model's, bicubic's and the truth, (h*scale, w*scale, 3); `low` is their input, (h, w, 3). `box`
        is in px of these images, which begin at `origin` in the truth.
        """
        model, bicubic, truth = images
        scale = truth.shape[0] // low.shape[0]
        for part in list_patches(box):
            crop = truth[part.rows, part.columns]
            if crop.mean(axis=2).std() < MIN_PATCH_CONTRAST:
                continue
            own, other = model[part.rows, part.columns], bicubic[part.rows, part.columns]
            gain = compute_gain(compute_psnr(own, crop), compute_psnr(other, crop))
            if self.best is None or self.worst is None or gain > self.best.gain or gain < self.worst.gain:
                source = low[part.top // scale : part.bottom // scale, part.left // scale : part.right // scale]
                place = part.left + origin[0], part.top + origin[1]
                self.add(ExamplePatch(gain, place, source.copy(), other.copy(), own.copy(), crop.copy()))


def list_patches(box: Box) -> Iterator[Box]:
    """Yield the patches that tile a box from its top left corner; what is left at the right and below is not."""
    for top in range(box.top, box.bottom - PATCH_PX + 1, PATCH_PX):
        for left in range(box.left, box.right - PATCH_PX + 1, PATCH_PX):
            yield Box(left, top, left + PATCH_PX, top + PATCH_PX)
