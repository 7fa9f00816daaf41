"""Pyramid pairs: a patch of one level of a slide, and the same field on the slide's own coarser levels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from wsisr.dataset.builder import Plan, Stop
from wsisr.dataset.level_relation import Field, relation
from wsisr.dataset.patch_quality import fingerprint
from wsisr.dataset.patch_selection import Choice, Look, Reason, choose, look, spread, to_look_at
from wsisr.dataset.recipe import Recipe
from wsisr.dataset.records import SCALES, PatchRecord, magnification_of
from wsisr.dataset.shard_writer import EXAMPLES, Part, SlideFacts, picture
from wsisr.dataset.slides_and_splits import DatasetSlide
from wsisr.errors import DatasetError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import Slide, SlideInfo, open_slide
from wsisr.tissue import TissueMap, tissue_of
from wsisr.tissue.detection import overview
from wsisr.upscaling.provenance import refuse_derived

THUMBNAIL_PX = 360

FIELDS = 16
"""By which the relation of two levels is measured, at the most."""


@dataclass(frozen=True, slots=True)
class PyramidJob:
    """Pairs of one slide's own levels."""

    source: DatasetSlide
    recipe: Recipe
    again: bool = False
    """Take a slide that wsisr wrote."""

    @property
    def name(self) -> str:
        return self.source.stem

    @property
    def place(self) -> str:
        return str(self.source.path)

    @property
    def identity(self) -> Mapping[str, str]:
        return self.source.identity

    def __call__(self, part: Part, stop: Stop) -> SlideFacts:
        """Raises `DatasetError` or `SlideError` where the slide cannot give pairs."""
        with open_slide(self.source.path) as slide:
            if not self.again:
                refuse_derived(self.source.path)
            groups = _usable(self.source, slide.info, self.recipe)
            tissue = tissue_of(slide)
            facts = facts_of(self.source, slide, "pyramid")
            for group in groups:
                Cutting(slide, group, tissue, self.recipe).into(part, facts, stop)
        refused = [each for each in facts.relations if each["refused"]]
        if refused and not part.records:
            first = refused[0]
            levels = f"levels {first['fine']} and {first['coarse']}"
            raise DatasetError(f"{self.source.path}: {levels} {first['refused']}; leave this slide out")
        return facts


@dataclass(frozen=True, slots=True)
class Work:
    """How a dataset is made, besides what is in it."""

    workers: int = 1
    overwrite: bool = False
    again: bool = False


def plan(sources: Sequence[DatasetSlide], folder: Path, recipe: Recipe, work: Work = Work()) -> Plan:
    """A dataset of pyramid pairs."""
    values = {name: str(value) for name, value in asdict(recipe).items()}
    jobs = [PyramidJob(source, recipe, work.again) for source in sources]
    return Plan(folder, jobs, {"kind": "pyramid", **values}, work.workers, work.overwrite)


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
class Group:
    """One level of one slide, and what pairs with it."""

    source: DatasetSlide
    info: SlideInfo
    level: int
    partners: Mapping[int, int]

    @property
    def mpp(self) -> float:
        mpp = self.info.level_mpp(self.level)
        if mpp is None:
            raise DatasetError(f"{self.source.path}: pixel pitch is not recorded; leave this slide out")
        return mpp

    @property
    def size(self) -> Size:
        return self.info.levels[self.level].size

    def fields(self, recipe: Recipe) -> list[Box]:
        """Boxes on a grid, inside this level and inside all of its partners."""
        sizes = [self.info.levels[coarse].size * scale for scale, coarse in self.partners.items()]
        sizes.append(self.size)
        common = Size(min(size.width for size in sizes), min(size.height for size in sizes))
        return list(_grid(common, recipe.patch_px, recipe.step_px))

    def record(self, seen: Look, patch: Rgb) -> PatchRecord:
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
            magnification=magnification_of(self.mpp),
            contrast=round(seen.contrast, 2),
            focus=round(seen.focus, 3),
            tissue=round(seen.tissue, 3),
            fingerprint=fingerprint(patch),
            side=seen.box.width,
            shard="",
            images={},
        )


def _usable(source: DatasetSlide, info: SlideInfo, recipe: Recipe) -> list[Group]:
    """Levels that give pairs. Raises `DatasetError` saying why there is none."""
    groups = [Group(source, info, level, partners(info, level)) for level in range(len(info.levels))]
    paired = [group for group in groups if group.partners]
    if not paired:
        levels = "its only level has" if len(groups) == 1 else f"its {len(groups)} levels have"
        raise DatasetError(f"{source.path}: {levels} no other 2, 4 or 8 times as coarse; leave it out")
    return fitting(paired, recipe)


def fitting(groups: Sequence[Group], recipe: Recipe) -> list[Group]:
    """Those that are fine and large enough for patches. Raises `DatasetError` saying why there is none."""
    path = groups[0].source.path
    fine = [group for group in groups if group.mpp <= recipe.coarsest_mpp]
    if not fine:
        raise DatasetError(
            f"{path}: levels that pair start at {groups[0].mpp:.3g} um/px, "
            f"coarser than {recipe.coarsest_mpp:g}; leave it out or allow coarser levels"
        )
    large = [group for group in fine if group.fields(recipe)]
    if not large:
        raise DatasetError(f"{path}: smaller than a patch of {recipe.patch_px} px; leave it out")
    return large


def facts_of(source: DatasetSlide, slide: Slide, kind: str) -> SlideFacts:
    """What is known of an open slide before it is cut."""
    size = slide.info.size
    return SlideFacts(
        source.name,
        source.case,
        source.split,
        kind,
        (size.width, size.height),
        slide.info.mpp or 0.0,
        picture(overview(slide)[0], THUMBNAIL_PX),
    )


@dataclass(frozen=True, slots=True)
class Cutting:
    """One level of an open slide, to be cut into pairs."""

    slide: Slide
    group: Group
    tissue: TissueMap
    recipe: Recipe

    def into(self, part: Part, facts: SlideFacts, stop: Stop) -> None:
        """Adds its pairs, and what it found of the levels' relations and of what is left out."""
        chosen = self.chosen(facts, stop)
        partners = self._related([each for each in chosen if not each.flat], facts)
        for each in chosen if partners else ():
            stop.check()
            self._keep(part, each, partners)

    def chosen(self, facts: SlideFacts, stop: Stop) -> tuple[Look, ...]:
        """Fields that are worth keeping; what is left out is told to the facts."""
        fields = [(box, self._tissue_share(box)) for box in self.group.fields(self.recipe)]
        seen = to_look_at(fields, self.recipe.most_patches)
        looks = []
        for box, share in seen:
            stop.check()
            looks.append(look(self.high(box), box, share))
        choice = choose(looks, self.recipe.most_patches)
        self._tell(choice, len(fields) - len(seen), facts)
        return choice.kept

    def _keep(self, part: Part, seen: Look, partners: Mapping[int, int]) -> None:
        high = self.high(seen.box)
        record = self.group.record(seen, high)
        place = part.keep(high)
        for scale, level in partners.items():
            images = {"hr": place, "lr": part.keep(self.slide.read(_shrunk(seen.box, scale), level))}
            part.add(replace(record, scale=scale, mpp_lr=record.mpp_hr * scale, shard=part.shard, images=images))

    def _related(self, looks: Sequence[Look], facts: SlideFacts) -> dict[int, int]:
        """Partners whose relation is what it should be; none where nothing has contrast to measure it by."""
        found = {}
        for scale, coarse in self.group.partners.items() if looks else ():
            fields = [self._field(each.box, scale, coarse) for each in spread(looks, FIELDS)]
            measured = relation((self.group.level, coarse), scale, fields)
            facts.relations.append(asdict(measured))
            if measured.refused is None:
                found[scale] = coarse
        return found

    def _field(self, box: Box, scale: int, coarse: int) -> Field:
        return Field(box, self.high(box), self.slide.read(_shrunk(box, scale), coarse))

    def _tell(self, choice: Choice, unseen: int, facts: SlideFacts) -> None:
        if unseen:
            facts.reject(Reason.UNSEEN, count=unseen)
        for seen, reason in choice.rejected:
            few = facts.rejected.get(reason)
            wanted = few is None or len(few.examples) < EXAMPLES
            facts.reject(reason, self.high(seen.box) if wanted else None)

    def high(self, box: Box) -> Rgb:
        """In px of the level."""
        return self.slide.read(box, self.group.level)

    def _tissue_share(self, box: Box) -> float:
        return float(np.mean(self.tissue.cells(self.group.size, box, max(1, box.width // 8))))


def _grid(size: Size, side: int, step: int) -> Iterator[Box]:
    for top in range(0, size.height - side + 1, step):
        for left in range(0, size.width - side + 1, step):
            yield Box(left, top, left + side, top + side)


def _shrunk(box: Box, scale: int) -> Box:
    return Box(box.left // scale, box.top // scale, box.right // scale, box.bottom // scale)
