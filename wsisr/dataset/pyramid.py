"""Pyramid pairs: a patch of one level of a slide, and the same field on the slide's own coarser levels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from wsisr.dataset.builder import DatasetPlan, StopSignal
from wsisr.dataset.level_relation import FieldPair, measure_relation
from wsisr.dataset.patch_quality import compute_fingerprint
from wsisr.dataset.patch_selection import (
    PatchCandidate,
    PatchSelection,
    RejectReason,
    measure_patch,
    sample_evenly,
    select_fields_to_read,
    select_patches,
)
from wsisr.dataset.recipe import Recipe
from wsisr.dataset.records import SCALES, PatchRecord, nearest_magnification
from wsisr.dataset.shard_writer import EXAMPLES_PER_REASON, ShardWriter, SlideFacts, encode_picture
from wsisr.dataset.slides_and_splits import DatasetSlide
from wsisr.errors import DatasetError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import Slide, SlideInfo, open_slide
from wsisr.tissue import TissueMap, find_tissue
from wsisr.tissue.detection import read_overview
from wsisr.upscaling.provenance import refuse_derived

THUMBNAIL_PX = 360

RELATION_FIELDS = 16
"""By which the relation of two levels is measured, at the most."""


@dataclass(frozen=True, slots=True)
class PyramidJob:
    """Pairs of one slide's own levels."""

    source: DatasetSlide
    recipe: Recipe
    allow_derived: bool = False
    """Take a slide that wsisr wrote."""

    @property
    def name(self) -> str:
        return self.source.stem

    @property
    def location(self) -> str:
        return str(self.source.path)

    @property
    def identity(self) -> Mapping[str, str]:
        return self.source.identity

    def __call__(self, part: ShardWriter, stop: StopSignal) -> SlideFacts:
        """Raises `DatasetError` or `SlideError` where the slide cannot give pairs."""
        with open_slide(self.source.path) as slide:
            if not self.allow_derived:
                refuse_derived(self.source.path)
            groups = _select_paired_levels(self.source, slide.info, self.recipe)
            tissue = find_tissue(slide)
            facts = collect_slide_facts(self.source, slide, "pyramid")
            for group in groups:
                LevelCutter(slide, group, tissue, self.recipe).write_pairs(part, facts, stop)
        refused = [each for each in facts.relations if each["refused"]]
        if refused and not part.records:
            first = refused[0]
            levels = f"levels {first['fine']} and {first['coarse']}"
            raise DatasetError(f"{self.source.path}: {levels} {first['refused']}; leave this slide out")
        return facts


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How a dataset is made, besides what is in it."""

    workers: int = 1
    overwrite: bool = False
    allow_derived: bool = False


def plan_pyramid_dataset(
    sources: Sequence[DatasetSlide], folder: Path, recipe: Recipe, work: BuildOptions = BuildOptions()
) -> DatasetPlan:
    """A dataset of pyramid pairs."""
    values = {name: str(value) for name, value in asdict(recipe).items()}
    jobs = [PyramidJob(source, recipe, work.allow_derived) for source in sources]
    return DatasetPlan(folder, jobs, {"kind": "pyramid", **values}, work.workers, work.overwrite)


def find_partner_levels(info: SlideInfo, level: int) -> dict[int, int]:
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
class PatchLevel:
    """One level of one slide, and what pairs with it."""

    source: DatasetSlide
    info: SlideInfo
    level: int
    partner_levels: Mapping[int, int]

    @property
    def mpp(self) -> float:
        mpp = self.info.level_mpp(self.level)
        if mpp is None:
            raise DatasetError(f"{self.source.path}: pixel pitch is not recorded; leave this slide out")
        return mpp

    @property
    def size(self) -> Size:
        return self.info.levels[self.level].size

    def list_boxes(self, recipe: Recipe) -> list[Box]:
        """Boxes on a grid, inside this level and inside all of its partners."""
        sizes = [self.info.levels[coarse].size * scale for scale, coarse in self.partner_levels.items()]
        sizes.append(self.size)
        common = Size(min(size.width for size in sizes), min(size.height for size in sizes))
        return list(_grid_boxes(common, recipe.patch_px, recipe.step_px))

    def make_record(self, seen: PatchCandidate, patch: Rgb) -> PatchRecord:
        """Of a patch at its finest, before it has partners."""
        ratio = self.info.levels[self.level].downsample
        edges = (seen.box.left, seen.box.top, seen.box.right, seen.box.bottom)
        left, top, right, bottom = (round(edge * ratio) for edge in edges)
        return PatchRecord(
            slide=self.source.name,
            case=self.source.case,
            split=self.source.split,
            kind="pyramid",
            scale=1,
            level=self.level,
            box=(left, top, right, bottom),
            mpp_hr=self.mpp,
            mpp_lr=self.mpp,
            magnification=nearest_magnification(self.mpp),
            contrast=round(seen.contrast, 2),
            focus=round(seen.focus, 3),
            tissue=round(seen.tissue, 3),
            fingerprint=compute_fingerprint(patch),
            side=seen.box.width,
            shard="",
            images={},
        )


def _select_paired_levels(source: DatasetSlide, info: SlideInfo, recipe: Recipe) -> list[PatchLevel]:
    """Levels that give pairs. Raises `DatasetError` saying why there is none."""
    groups = [PatchLevel(source, info, level, find_partner_levels(info, level)) for level in range(len(info.levels))]
    paired = [group for group in groups if group.partner_levels]
    if not paired:
        levels = "its only level has" if len(groups) == 1 else f"its {len(groups)} levels have"
        raise DatasetError(f"{source.path}: {levels} no other 2, 4 or 8 times as coarse; leave it out")
    return select_usable_levels(paired, recipe)


def select_usable_levels(groups: Sequence[PatchLevel], recipe: Recipe) -> list[PatchLevel]:
    """Those that are fine and large enough for patches. Raises `DatasetError` saying why there is none."""
    path = groups[0].source.path
    fine = [group for group in groups if group.mpp <= recipe.coarsest_mpp]
    if not fine:
        raise DatasetError(
            f"{path}: levels that pair start at {groups[0].mpp:.3g} um/px, "
            f"coarser than {recipe.coarsest_mpp:g}; leave it out or allow coarser levels"
        )
    large = [group for group in fine if group.list_boxes(recipe)]
    if not large:
        raise DatasetError(f"{path}: smaller than a patch of {recipe.patch_px} px; leave it out")
    return large


def collect_slide_facts(source: DatasetSlide, slide: Slide, kind: str) -> SlideFacts:
    """What is known of an open slide before it is cut."""
    size = slide.info.size
    return SlideFacts(
        source.name,
        source.case,
        source.split,
        kind,
        (size.width, size.height),
        slide.info.mpp or 0.0,
        encode_picture(read_overview(slide)[0], THUMBNAIL_PX),
    )


@dataclass(frozen=True, slots=True)
class LevelCutter:
    """One level of an open slide, to be cut into pairs."""

    slide: Slide
    level: PatchLevel
    tissue: TissueMap
    recipe: Recipe

    def write_pairs(self, part: ShardWriter, facts: SlideFacts, stop: StopSignal) -> None:
        """Adds its pairs, and what it found of the levels' relations and of what is left out."""
        chosen = self.select_patches(facts, stop)
        partners = self._measure_partners([each for each in chosen if not each.is_flat], facts)
        for each in chosen if partners else ():
            stop.check()
            self._write_patch(part, each, partners)

    def select_patches(self, facts: SlideFacts, stop: StopSignal) -> tuple[PatchCandidate, ...]:
        """Fields that are worth keeping; what is left out is told to the facts."""
        fields = [(box, self._tissue_share(box)) for box in self.level.list_boxes(self.recipe)]
        seen = select_fields_to_read(fields, self.recipe.most_patches)
        looks = []
        for box, share in seen:
            stop.check()
            looks.append(measure_patch(self.read_high(box), box, share))
        choice = select_patches(looks, self.recipe.most_patches)
        self._count_rejections(choice, len(fields) - len(seen), facts)
        return choice.selected

    def _write_patch(self, part: ShardWriter, seen: PatchCandidate, partners: Mapping[int, int]) -> None:
        high = self.read_high(seen.box)
        record = self.level.make_record(seen, high)
        place = part.write_image(high)
        for scale, level in partners.items():
            images = {"hr": place, "lr": part.write_image(self.slide.read(_scale_down(seen.box, scale), level))}
            part.add_record(replace(record, scale=scale, mpp_lr=record.mpp_hr * scale, shard=part.shard, images=images))

    def _measure_partners(self, looks: Sequence[PatchCandidate], facts: SlideFacts) -> dict[int, int]:
        """Partners whose relation is what it should be; none where nothing has contrast to measure it by."""
        found = {}
        for scale, coarse in self.level.partner_levels.items() if looks else ():
            fields = [self._read_field_pair(each.box, scale, coarse) for each in sample_evenly(looks, RELATION_FIELDS)]
            measured = measure_relation((self.level.level, coarse), scale, fields)
            facts.relations.append(asdict(measured))
            if measured.refused is None:
                found[scale] = coarse
        return found

    def _read_field_pair(self, box: Box, scale: int, coarse: int) -> FieldPair:
        return FieldPair(box, self.read_high(box), self.slide.read(_scale_down(box, scale), coarse))

    def _count_rejections(self, choice: PatchSelection, unseen: int, facts: SlideFacts) -> None:
        if unseen:
            facts.reject(RejectReason.UNSEEN, count=unseen)
        for seen, reason in choice.rejected:
            few = facts.rejected.get(reason)
            wanted = few is None or len(few.examples) < EXAMPLES_PER_REASON
            facts.reject(reason, self.read_high(seen.box) if wanted else None)

    def read_high(self, box: Box) -> Rgb:
        """In px of the level."""
        return self.slide.read(box, self.level.level)

    def _tissue_share(self, box: Box) -> float:
        return float(np.mean(self.tissue.mask_cells(self.level.size, box, max(1, box.width // 8))))


def _grid_boxes(size: Size, side: int, step: int) -> Iterator[Box]:
    for top in range(0, size.height - side + 1, step):
        for left in range(0, size.width - side + 1, step):
            yield Box(left, top, left + side, top + side)


def _scale_down(box: Box, scale: int) -> Box:
    return Box(box.left // scale, box.top // scale, box.right // scale, box.bottom // scale)
