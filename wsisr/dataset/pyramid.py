"""Pyramid pairs: a patch of one level of a slide, and the same field on the slide's own coarser levels."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsisr.dataset.recipe import Recipe, choose
from wsisr.dataset.sources import DatasetSlide
from wsisr.dataset.store import PatchRecord, new_dataset, refuse_existing, write_group, write_manifest
from wsisr.errors import DatasetError
from wsisr.geometry import Box, Size
from wsisr.modelspec import SCALES
from wsisr.pixels import Rgb
from wsisr.progress import Progress
from wsisr.slides import Slide, SlideInfo, open_slide


def build(sources: Sequence[DatasetSlide], folder: Path, recipe: Recipe) -> Generator[Progress, None, None]:
    """Writes a dataset from slides; nothing happens until the iterator is consumed, to its end.

    All slides are looked at before the first patch is read. Yields `levels`. Leaving early leaves nothing behind.
    Raises `DatasetError` if the folder exists, a slide cannot give pairs, or none shows tissue; `SlideError` if one
    cannot be read; `OutputError` if the disk refuses.
    """
    refuse_existing(folder)
    jobs = [(source, level) for source in sources for level in _usable_levels(source, recipe)]
    records: list[PatchRecord] = []
    with new_dataset(folder) as staging:
        for done, (source, level) in enumerate(jobs):
            yield Progress("levels", done, len(jobs))
            with open_slide(source.path) as slide:
                records += _take(slide, _Group(source, level, slide.info), staging, recipe)
        if not records:
            raise DatasetError("no patch of any slide has contrast; are they empty glass?")
        write_manifest(staging, records)
        yield Progress("levels", len(jobs), len(jobs))


def partners(info: SlideInfo, level: int) -> dict[int, int]:
    """Scale to the coarser level that shows exactly that scale, for those of `SCALES` that the pyramid has."""
    fine = info.levels[level].size
    found = {}
    for scale in SCALES:
        for index in range(level + 1, len(info.levels)):
            coarse = info.levels[index].size
            if abs(coarse.width - fine.width // scale) <= 1 and abs(coarse.height - fine.height // scale) <= 1:
                found[scale] = index
    return found


@dataclass(frozen=True, slots=True)
class _Group:
    """One level of one slide."""

    source: DatasetSlide
    level: int
    info: SlideInfo

    @property
    def name(self) -> str:
        return f"{self.source.stem}-{self.level}"

    @property
    def mpp(self) -> float:
        mpp = self.info.level_mpp(self.level)
        if mpp is None:
            raise DatasetError(f"{self.source.path}: pixel pitch is not recorded; leave this slide out")
        return mpp

    @property
    def partners(self) -> Mapping[int, int]:
        return partners(self.info, self.level)

    def fields(self, side: int) -> list[Box]:
        """Boxes on a grid without overlap, inside this level and inside all of its partners."""
        sizes = [self.info.levels[coarse].size * scale for scale, coarse in self.partners.items()]
        sizes.append(self.info.levels[self.level].size)
        width, height = min(size.width for size in sizes), min(size.height for size in sizes)
        return list(_grid(Size(width, height), side))

    def record(self, index: int, box: Box, contrast: float) -> PatchRecord:
        return PatchRecord(
            group=self.name,
            index=index,
            slide=self.source.name,
            case=self.source.case,
            split=self.source.split,
            level=self.level,
            left=box.left,
            top=box.top,
            mpp=self.mpp,
            contrast=round(contrast, 2),
            scales=tuple(self.partners),
        )


def _usable_levels(source: DatasetSlide, recipe: Recipe) -> list[int]:
    """Levels that give pairs. Raises `DatasetError` saying why there is none."""
    with open_slide(source.path) as slide:
        groups = [_Group(source, level, slide.info) for level in range(len(slide.info.levels))]
    paired = [group for group in groups if group.partners]
    if not paired:
        levels = "its only level has" if len(groups) == 1 else f"its {len(groups)} levels have"
        raise DatasetError(f"{source.path}: {levels} no other 2 or 4 times as coarse, so nothing pairs; leave it out")
    fine = [group for group in paired if group.mpp <= recipe.coarsest_mpp]
    if not fine:
        raise DatasetError(
            f"{source.path}: levels that pair start at {paired[0].mpp:.3g} um/px, "
            f"coarser than {recipe.coarsest_mpp:g}; leave it out or allow coarser levels"
        )
    large = [group.level for group in fine if group.fields(recipe.patch_px)]
    if not large:
        raise DatasetError(f"{source.path}: smaller than a patch of {recipe.patch_px} px; leave it out")
    return large


def _take(slide: Slide, group: _Group, folder: Path, recipe: Recipe) -> list[PatchRecord]:
    """One group, stored: patches chosen by the contrast of their coarsest partner."""
    boxes = group.fields(recipe.patch_px)
    scale, coarse = max(group.partners.items())
    contrasts = [_contrast(slide.read(_shrunk(box, scale), coarse)) for box in boxes]
    chosen = choose(contrasts, recipe.most_patches)
    if not chosen:
        return []
    for scale, level in {1: group.level, **group.partners}.items():
        patches = (slide.read(_shrunk(boxes[i], scale), level) for i in chosen)
        kind = "hr" if scale == 1 else f"lr{scale}"
        write_group(folder, kind, group.name, patches, (len(chosen), recipe.patch_px // scale))
    return [group.record(row, boxes[i], contrasts[i]) for row, i in enumerate(chosen)]


def _grid(size: Size, side: int) -> Iterator[Box]:
    for top in range(0, size.height - side + 1, side):
        for left in range(0, size.width - side + 1, side):
            yield Box(left, top, left + side, top + side)


def _shrunk(box: Box, scale: int) -> Box:
    return Box(box.left // scale, box.top // scale, box.right // scale, box.bottom // scale)


def _contrast(patch: Rgb) -> float:
    return float(np.std(patch.mean(axis=2)))
