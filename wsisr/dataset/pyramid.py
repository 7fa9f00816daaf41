"""Pyramid pairs: a patch of one level of a slide, and the same field on coarser levels of that slide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from wsisr.dataset.builder import DEFAULT_OPTIONS, BuildOptions, DatasetPlan, StopSignal
from wsisr.dataset.level_relation import MAX_RELATION_FIELDS, FieldPair, measure_relation
from wsisr.dataset.patch_levels import PatchLevel, PatchReader, select_usable_levels
from wsisr.dataset.patch_selection import PatchCandidate, sample_evenly
from wsisr.dataset.recipe import Recipe
from wsisr.dataset.records import SCALES
from wsisr.dataset.shard_writer import ShardWriter
from wsisr.dataset.slide_facts import SlideFacts, collect_slide_facts
from wsisr.dataset.slides_and_splits import DatasetSlide
from wsisr.errors import DatasetError
from wsisr.imaging.geometry import Box
from wsisr.slides import SlideInfo, open_slide
from wsisr.tissue import find_tissue
from wsisr.upscaling.provenance import refuse_derived


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
        with open_slide(self.source.path, self.source.mpp) as slide:
            if not self.allow_derived:
                refuse_derived(self.source.path)
            levels = _select_paired_levels(self.source, slide.info, self.recipe)
            tissue = find_tissue(slide)
            facts = collect_slide_facts(self.source, slide, "pyramid")
            for level in levels:
                _LevelPairs(PatchReader(slide, level, tissue, self.recipe)).write(writer, facts, stop)
            slide.check_unchanged()
        refused = [relation for relation in facts.relations if relation.refused]
        if refused and not writer.records:
            first = refused[0]
            numbers = f"levels {first.fine} and {first.coarse}"
            raise DatasetError(f"{self.source.path}: {numbers} {first.refused}; leave this slide out")
        return facts


def plan_pyramid_dataset(
    sources: Sequence[DatasetSlide], folder: Path, recipe: Recipe, options: BuildOptions = DEFAULT_OPTIONS
) -> DatasetPlan:
    """Plan a dataset of pyramid pairs."""
    jobs = [PyramidJob(source, recipe, options.allow_derived) for source in sources]
    return DatasetPlan(folder, jobs, {"kind": "pyramid", **recipe.describe()}, options, recipe.place_share)


def _select_paired_levels(source: DatasetSlide, info: SlideInfo, recipe: Recipe) -> list[PatchLevel]:
    """Return the levels that give pairs. Raises `DatasetError` with the reason if there is none."""
    levels = [PatchLevel(source, info, index, find_partner_levels(info, index)) for index in range(len(info.levels))]
    paired = [level for level in levels if level.partner_levels]
    if not paired:
        have = "its only level has" if len(levels) == 1 else f"its {len(levels)} levels have"
        raise DatasetError(
            f"{source.path}: {have} no other 2, 4 or 8 times as coarse; leave it out, or simulate "
            "its low resolution: wsisr build-dataset simulated"
        )
    return select_usable_levels(paired, recipe)


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
class _LevelPairs:
    """The pairs of one level of an open slide with its partner levels."""

    patches: PatchReader

    def write(self, writer: ShardWriter, facts: SlideFacts, stop: StopSignal) -> None:
        """Write the pairs; add the relations of the levels and the rejected fields to `facts`."""
        selected = self.patches.select_patches(facts, stop)
        partners = self._measure_partners([candidate for candidate in selected if not candidate.is_flat], facts)
        for candidate in selected if partners else ():
            stop.check()
            self._write_patch(writer, candidate, partners)

    def _write_patch(self, writer: ShardWriter, candidate: PatchCandidate, partners: Mapping[int, int]) -> None:
        high = self.patches.read_high(candidate.box)
        record = replace(self.patches.level.draft_record(candidate, high), shard=writer.shard)
        high_span = writer.write_image(high)
        for scale, coarse in partners.items():
            low = self.patches.slide.read(_scale_down(candidate.box, scale), coarse)
            images = {"hr": high_span, "lr": writer.write_image(low)}
            writer.add_record(replace(record, scale=scale, mpp_lr=record.mpp_hr * scale, images=images))

    def _measure_partners(self, candidates: Sequence[PatchCandidate], facts: SlideFacts) -> dict[int, int]:
        """Return the partners whose measured relation is acceptable; none without candidates to measure it by."""
        level, accepted = self.patches.level, {}
        for scale, coarse in level.partner_levels.items() if candidates else ():
            boxes = [candidate.box for candidate in sample_evenly(candidates, MAX_RELATION_FIELDS)]
            fields = [self._read_field_pair(box, scale, coarse) for box in boxes]
            relation = measure_relation((level.index, coarse), scale, fields)
            facts.relations.append(relation)
            if relation.refused is None:
                accepted[scale] = coarse
        return accepted

    def _read_field_pair(self, box: Box, scale: int, coarse: int) -> FieldPair:
        low = self.patches.slide.read(_scale_down(box, scale), coarse)
        return FieldPair(box, self.patches.read_high(box), low)


def _scale_down(box: Box, scale: int) -> Box:
    return Box(box.left // scale, box.top // scale, box.right // scale, box.bottom // scale)
