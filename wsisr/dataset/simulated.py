"""Simulated pairs: a patch of any level of a slide, and its low resolution computed by a described degradation.

Patches are selected as for pyramid pairs; a slide with one level is enough. The numbers drawn for a pair depend on the
seed, the slide, the box and the scale alone, and are stored in the parameters of the pair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from wsisr.dataset.builder import BuildOptions, DatasetPlan, StopSignal
from wsisr.dataset.degradation import CAPTURE, Degradation
from wsisr.dataset.level_relation import MAX_RELATION_FIELDS, FieldPair, measure_relation
from wsisr.dataset.patch_levels import PatchLevel, PatchReader, select_usable_levels
from wsisr.dataset.patch_selection import PatchCandidate, sample_evenly
from wsisr.dataset.recipe import Recipe
from wsisr.dataset.records import SCALES, PatchRecord
from wsisr.dataset.shard_writer import ShardWriter
from wsisr.dataset.slide_facts import SlideFacts, collect_slide_facts
from wsisr.dataset.slides_and_splits import DatasetSlide
from wsisr.errors import DatasetError
from wsisr.slides import open_slide
from wsisr.tissue import find_tissue
from wsisr.upscaling.provenance import refuse_derived


@dataclass(frozen=True, slots=True)
class Simulation:
    """The degradation, the scales and the seed of simulated pairs."""

    degradation: Degradation = field(default_factory=lambda: CAPTURE)
    scales: tuple[int, ...] = (2, 4)
    """Some of `SCALES`."""
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = set(self.scales) - set(SCALES)
        if unknown or not self.scales:
            raise DatasetError(f"scale {min(unknown, default=0)} is not one of {', '.join(map(str, SCALES))}")

    def make_generator(self, record: PatchRecord) -> np.random.Generator:
        """Return the random generator of a pair, the same in whichever order or process pairs are made."""
        key = f"{self.seed} {record.slide} {record.level} {record.box} {record.scale}"
        return np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big"))

    def describe(self) -> dict[str, str]:
        """Return all settings as text: name to value."""
        return {"scales": str(self.scales), "seed": str(self.seed), **self.degradation.describe()}


@dataclass(frozen=True, slots=True)
class SimulatedJob:
    """Builds the simulated pairs of one slide."""

    source: DatasetSlide
    recipe: Recipe
    simulation: Simulation
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
            indices = range(len(slide.info.levels))
            levels = select_usable_levels(
                [PatchLevel(self.source, slide.info, index, {}) for index in indices], self.recipe
            )
            tissue = find_tissue(slide)
            facts = collect_slide_facts(self.source, slide, "simulated")
            for level in levels:
                self._write_level(writer, facts, PatchReader(slide, level, tissue, self.recipe), stop)
            slide.check_unchanged()
        return facts

    def _write_level(self, writer: ShardWriter, facts: SlideFacts, patches: PatchReader, stop: StopSignal) -> None:
        """Write the pairs of a level, and add the relation of high and low resolution to `facts`."""
        selected, level = patches.select_patches(facts, stop), patches.level.index
        textured = [candidate for candidate in selected if not candidate.is_flat]
        to_measure = {id(candidate) for candidate in sample_evenly(textured, MAX_RELATION_FIELDS)}
        fields: dict[int, list[FieldPair]] = {scale: [] for scale in self.simulation.scales if to_measure}
        for candidate in selected:
            stop.check()
            pairs = self._write_patch(writer, patches, candidate)
            for scale in fields if id(candidate) in to_measure else ():
                fields[scale].append(pairs[scale])
        for scale, of_scale in fields.items():
            relation = measure_relation((level, level), scale, of_scale)
            # A degradation may be so strong that a measured relation would be refused; here it is wanted.
            facts.relations.append(replace(relation, refused=None))

    def _write_patch(
        self, writer: ShardWriter, patches: PatchReader, candidate: PatchCandidate
    ) -> dict[int, FieldPair]:
        """Write the pairs of a patch; return them by scale."""
        high, pairs = patches.read_high(candidate.box), {}
        high_span = writer.write_image(high)
        of_patch = replace(patches.level.draft_record(candidate, high), kind="simulated", shard=writer.shard)
        for scale in self.simulation.scales:
            record = replace(of_patch, scale=scale, mpp_lr=of_patch.mpp_hr * scale)
            random = self.simulation.make_generator(record)
            low, drawn = self.simulation.degradation(high, scale, record.mpp_lr, random)
            images = {"hr": high_span, "lr": writer.write_image(low)}
            writer.add_record(replace(record, images=images, parameters={"seed": self.simulation.seed, **drawn}))
            pairs[scale] = FieldPair(candidate.box, high, low)
        return pairs


def plan_simulated_dataset(
    sources: Sequence[DatasetSlide], folder: Path, recipe: Recipe, simulation: Simulation, options: BuildOptions
) -> DatasetPlan:
    """Plan a dataset of simulated pairs."""
    jobs = [SimulatedJob(source, recipe, simulation, options.allow_derived) for source in sources]
    return DatasetPlan(
        folder, jobs, {"kind": "simulated", **recipe.describe(), **simulation.describe()}, options, recipe.place_share
    )
