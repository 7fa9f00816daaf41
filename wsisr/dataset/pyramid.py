"""Pyramid pairs: a patch of one level of a slide, and the same field on coarser levels of that slide."""

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

THUMBNAIL_SIDE_PX = 360

RELATION_FIELDS = 16
"""Most fields by which the relation of two levels is measured."""


@dataclass(frozen=True, slots=True)
class PyramidJob:
    """Builds the pairs of the levels of one slide."""

    source: DatasetSlide
    recipe: Recipe
    allow_derived: bool = False
    """Accept a slide that wsisr wrote."""

    @property
    def name(self) -> str:
        return self.source.stem

    @property
    def location(self) -> str:
        return str(self.source.path)

    @property
    def identity(self) -> Mapping[str, str]:
        return self.source.identity

    def __call__(self, writer: ShardWriter, stop: StopSignal) -> SlideFacts:
        """Write the pairs of all levels. Raises `DatasetError` or `SlideError` if the slide cannot give pairs."""
        with open_slide(self.source.path) as slide:
            if not self.allow_derived:
                refuse_derived(self.source.path)
            levels = _select_paired_levels(self.source, slide.info, self.recipe)
            tissue = find_tissue(slide)
            facts = collect_slide_facts(self.source, slide, "pyramid")
            for level in levels:
                LevelCutter(slide, level, tissue, self.recipe).write_pairs(writer, facts, stop)
        refused = [relation for relation in facts.relations if relation["refused"]]
        if refused and not writer.records:
            first = refused[0]
            numbers = f"levels {first['fine']} and {first['coarse']}"
            raise DatasetError(f"{self.source.path}: {numbers} {first['refused']}; leave this slide out")
        return facts


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Options of a build that do not change the pairs of a slide."""

    workers: int = 1
    overwrite: bool = False
    allow_derived: bool = False
    """Accept slides that wsisr wrote."""


def plan_pyramid_dataset(
    sources: Sequence[DatasetSlide], folder: Path, recipe: Recipe, options: BuildOptions = BuildOptions()
) -> DatasetPlan:
    """Plan a dataset of pyramid pairs."""
    values = {name: str(value) for name, value in asdict(recipe).items()}
    jobs = [PyramidJob(source, recipe, options.allow_derived) for source in sources]
    return DatasetPlan(folder, jobs, {"kind": "pyramid", **values}, options.workers, options.overwrite)


def find_partner_levels(info: SlideInfo, level: int) -> dict[int, int]:
    """Return scale to the coarser level that is smaller by exactly that scale, for those of `SCALES` that exist.

    Sizes may differ by 1 px: vendors round odd sizes up or down.
    """
    fine = info.levels[level].size
    partners = {}
    for scale in SCALES:
        for index in range(level + 1, len(info.levels)):
            coarse = info.levels[index].size
            if abs(coarse.width - fine.width // scale) <= 1 and abs(coarse.height - fine.height // scale) <= 1:
                partners[scale] = index
    return partners


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

    def make_record(self, candidate: PatchCandidate, patch: Rgb) -> PatchRecord:
        """Make the record of a high-resolution patch, whose scale and images are still missing."""
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


def _select_paired_levels(source: DatasetSlide, info: SlideInfo, recipe: Recipe) -> list[PatchLevel]:
    """Return the levels that give pairs. Raises `DatasetError` with the reason if there is none."""
    levels = [PatchLevel(source, info, index, find_partner_levels(info, index)) for index in range(len(info.levels))]
    paired = [level for level in levels if level.partner_levels]
    if not paired:
        have = "its only level has" if len(levels) == 1 else f"its {len(levels)} levels have"
        raise DatasetError(f"{source.path}: {have} no other 2, 4 or 8 times as coarse; leave it out")
    return select_usable_levels(paired, recipe)


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


def collect_slide_facts(source: DatasetSlide, slide: Slide, kind: str) -> SlideFacts:
    """Return the facts of an open slide that are known before it is cut."""
    size = slide.info.size
    return SlideFacts(
        source.name,
        source.case,
        source.split,
        kind,
        (size.width, size.height),
        slide.info.mpp or 0.0,
        encode_picture(read_overview(slide)[0], THUMBNAIL_SIDE_PX),
    )


@dataclass(frozen=True, slots=True)
class LevelCutter:
    """Cuts one level of an open slide into patches and pairs."""

    slide: Slide
    level: PatchLevel
    tissue: TissueMap
    recipe: Recipe

    def write_pairs(self, writer: ShardWriter, facts: SlideFacts, stop: StopSignal) -> None:
        """Write the pairs of the level; add its relations and rejected fields to `facts`."""
        selected = self.select_patches(facts, stop)
        partners = self._measure_partners([candidate for candidate in selected if not candidate.is_flat], facts)
        for candidate in selected if partners else ():
            stop.check()
            self._write_patch(writer, candidate, partners)

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

    def _write_patch(self, writer: ShardWriter, candidate: PatchCandidate, partners: Mapping[int, int]) -> None:
        high = self.read_high(candidate.box)
        record = replace(self.level.make_record(candidate, high), shard=writer.shard)
        high_span = writer.write_image(high)
        for scale, coarse in partners.items():
            low = self.slide.read(_scale_down(candidate.box, scale), coarse)
            images = {"hr": high_span, "lr": writer.write_image(low)}
            writer.add_record(replace(record, scale=scale, mpp_lr=record.mpp_hr * scale, images=images))

    def _measure_partners(self, candidates: Sequence[PatchCandidate], facts: SlideFacts) -> dict[int, int]:
        """Return the partners whose measured relation is acceptable; none without candidates to measure it by."""
        accepted = {}
        for scale, coarse in self.level.partner_levels.items() if candidates else ():
            boxes = [candidate.box for candidate in sample_evenly(candidates, RELATION_FIELDS)]
            fields = [self._read_field_pair(box, scale, coarse) for box in boxes]
            relation = measure_relation((self.level.index, coarse), scale, fields)
            facts.relations.append(asdict(relation))
            if relation.refused is None:
                accepted[scale] = coarse
        return accepted

    def _read_field_pair(self, box: Box, scale: int, coarse: int) -> FieldPair:
        return FieldPair(box, self.read_high(box), self.slide.read(_scale_down(box, scale), coarse))

    def _count_rejections(self, selection: PatchSelection, unread: int, facts: SlideFacts) -> None:
        if unread:
            facts.reject(RejectReason.UNSEEN, count=unread)
        for candidate, reason in selection.rejected:
            rejections = facts.rejected.get(reason)
            needs_example = rejections is None or len(rejections.examples) < EXAMPLES_PER_REASON
            facts.reject(reason, self.read_high(candidate.box) if needs_example else None)

    def read_high(self, box: Box) -> Rgb:
        """Read a box of the level, in px of that level."""
        return self.slide.read(box, self.level.index)

    def _tissue_share(self, box: Box) -> float:
        return float(np.mean(self.tissue.mask_cells(self.level.size, box, max(1, box.width // 8))))


def _grid_boxes(size: Size, side: int, step: int) -> Iterator[Box]:
    for top in range(0, size.height - side + 1, step):
        for left in range(0, size.width - side + 1, step):
            yield Box(left, top, left + side, top + side)


def _scale_down(box: Box, scale: int) -> Box:
    return Box(box.left // scale, box.top // scale, box.right // scale, box.bottom // scale)
