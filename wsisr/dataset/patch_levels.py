"""The levels of a slide that give high-resolution patches, and the selection of patches on an open level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wsisr.dataset.builder import StopSignal
from wsisr.dataset.patch_quality import compute_fingerprint
from wsisr.dataset.patch_selection import (
    PatchCandidate,
    PatchSelection,
    RejectReason,
    measure_patch,
    select_fields_to_read,
    select_patches,
)
from wsisr.dataset.recipe import Recipe
from wsisr.dataset.records import PatchRecord, nearest_magnification
from wsisr.dataset.slide_facts import SlideFacts
from wsisr.dataset.slides_and_splits import DatasetSlide
from wsisr.errors import DatasetError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import Slide, SlideInfo
from wsisr.tissue import TissueMap


@dataclass(frozen=True, slots=True)
class PatchLevel:
    """One level of a slide that gives high-resolution patches, and its partners."""

    source: DatasetSlide
    info: SlideInfo
    index: int
    partner_levels: Mapping[int, int]
    """Scale to the index of the level with the low resolution; empty if that is simulated."""

    @property
    def mpp(self) -> float:
        """Pixel size in um/px. Raises `DatasetError` if it is not recorded."""
        mpp = self.info.level_mpp(self.index)
        if mpp is None:
            raise DatasetError(f"{self.source.path}: pixel size is not recorded; leave this slide out")
        return mpp

    @property
    def size(self) -> Size:
        return self.info.levels[self.index].size

    def list_boxes(self, recipe: Recipe) -> list[Box]:
        """List the boxes of a grid that lie within this level and within all of its partners."""
        sizes = [self.info.levels[coarse].size * scale for scale, coarse in self.partner_levels.items()]
        sizes.append(self.size)
        common = Size(min(size.width for size in sizes), min(size.height for size in sizes))
        return list(_grid_boxes(common, recipe.patch_px, recipe.step_px))

    def draft_record(self, candidate: PatchCandidate, patch: Rgb) -> PatchRecord:
        """Draft the record of a high-resolution patch; scale, mpp_lr, shard and images are placeholders."""
        ratio = self.info.levels[self.index].downsample
        box = candidate.box
        left, top, right, bottom = (round(edge * ratio) for edge in (box.left, box.top, box.right, box.bottom))
        return PatchRecord(
            slide=self.source.name,
            case=self.source.case,
            split=self.source.split,
            kind="pyramid",
            scale=1,
            level=self.index,
            box=(left, top, right, bottom),
            mpp_hr=self.mpp,
            mpp_lr=self.mpp,
            magnification=nearest_magnification(self.mpp),
            contrast=round(candidate.contrast, 2),
            focus=round(candidate.focus, 3),
            tissue=round(candidate.tissue, 3),
            fingerprint=compute_fingerprint(patch),
            side=box.width,
            shard="",
            images={},
        )


def select_usable_levels(levels: Sequence[PatchLevel], recipe: Recipe) -> list[PatchLevel]:
    """Return the levels that are fine and large enough. Raises `DatasetError` with the reason if there is none."""
    path = levels[0].source.path
    fine = [level for level in levels if level.mpp <= recipe.coarsest_mpp]
    if not fine:
        raise DatasetError(
            f"{path}: levels that pair start at {levels[0].mpp:.3g} um/px, "
            f"coarser than {recipe.coarsest_mpp:g}; leave it out or allow coarser levels"
        )
    large = [level for level in fine if level.list_boxes(recipe)]
    if not large:
        raise DatasetError(f"{path}: smaller than a patch of {recipe.patch_px} px; leave it out")
    return large


@dataclass(frozen=True, slots=True)
class PatchReader:
    """Reads and selects the patches of one level of an open slide."""

    slide: Slide
    level: PatchLevel
    tissue: TissueMap
    recipe: Recipe

    def select_patches(self, facts: SlideFacts, stop: StopSignal) -> tuple[PatchCandidate, ...]:
        """Return the patches to keep; add the rejected fields to `facts`."""
        fields = [(box, self._tissue_share(box)) for box in self.level.list_boxes(self.recipe)]
        to_read = select_fields_to_read(fields, self.recipe.most_patches)
        candidates = []
        for box, tissue_share in to_read:
            stop.check()
            candidates.append(measure_patch(self.read_high(box), box, tissue_share))
        selection = select_patches(candidates, self.recipe.most_patches)
        self._count_rejections(selection, len(fields) - len(to_read), facts)
        return selection.selected

    def _count_rejections(self, selection: PatchSelection, unread: int, facts: SlideFacts) -> None:
        if unread:
            facts.reject(RejectReason.UNSEEN, count=unread)
        for candidate, reason in selection.rejected:
            facts.reject(reason, self.read_high(candidate.box) if facts.needs_example(reason) else None)

    def read_high(self, box: Box) -> Rgb:
        """Read a box of the level, in px of that level."""
        return self.slide.read(box, self.level.index)

    def _tissue_share(self, box: Box) -> float:
        return float(np.mean(self.tissue.mask_cells(self.level.size, box, max(1, box.width // 8))))


def _grid_boxes(size: Size, side: int, step: int) -> Iterator[Box]:
    for top in range(0, size.height - side + 1, step):
        for left in range(0, size.width - side + 1, step):
            yield Box(left, top, left + side, top + side)
