"""Captured pairs: two captures of one specimen at two pixel sizes, registered patch by patch.

The coarser capture is never resampled: its patches are cut on its own grid. The finer one is warped onto that grid by
Lanczos' kernel, 8 x 8 px. Its colours are matched to the coarser one, with one fit for both captures; the image with
its own colours is stored too (`hr-raw`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from wsisr.dataset.aligned_captures import AlignedCaptures, RegisteredPatch
from wsisr.dataset.alignment import NoCommonTissueError, require_pixel_size
from wsisr.dataset.builder import DEFAULT_OPTIONS, BuildOptions, DatasetPlan, StopSignal
from wsisr.dataset.captures import open_capture
from wsisr.dataset.colour_matching import ColourMatch, sample_colours
from wsisr.dataset.level_relation import MAX_RELATION_FIELDS, FieldPair, measure_relation
from wsisr.dataset.patch_quality import compute_fingerprint, measure_contrast, measure_focus
from wsisr.dataset.patch_selection import sample_evenly
from wsisr.dataset.recipe import Recipe
from wsisr.dataset.records import ParameterValue, PatchRecord, nearest_magnification
from wsisr.dataset.registration.refinement import Float64Array
from wsisr.dataset.shard_writer import ShardWriter
from wsisr.dataset.slide_facts import SlideFacts, collect_slide_facts
from wsisr.dataset.slides_and_splits import DatasetSlide
from wsisr.errors import DatasetError, SlideError, WsisrError
from wsisr.imaging.pixels import Rgb, round_to_uint8
from wsisr.tissue import TissueMap, find_tissue


@dataclass(frozen=True, slots=True)
class CaptureSet:
    """A finer capture, and the coarser ones that may show its specimen."""

    high: DatasetSlide
    lows: tuple[DatasetSlide, ...]
    mpp_high: float | None = None
    mpp_low: float | None = None
    """Pixel sizes in um/px, if those of the files are missing or wrong."""


@dataclass(frozen=True, slots=True)
class CapturedJob:
    """Builds the pairs of a finer capture with the first of the coarser ones that shows the same tissue."""

    captures: CaptureSet
    recipe: Recipe

    @property
    def name(self) -> str:
        return self.captures.high.stem

    @property
    def location(self) -> str:
        return str(self.captures.high.path)

    @property
    def identity(self) -> Mapping[str, str]:
        slides = (self.captures.high, *self.captures.lows)
        states = {str(slide.path.resolve()): str(slide.file_state()) for slide in slides}
        return {**states, "mpp": f"{self.captures.mpp_high} {self.captures.mpp_low}"}

    def __call__(self, writer: ShardWriter, stop: StopSignal) -> SlideFacts:
        """Raises `DatasetError` or `SlideError` if the captures cannot be used or show no common tissue."""
        captures = self.captures
        refusals: list[WsisrError] = []
        with open_capture(captures.high.path, captures.mpp_high) as high:
            for candidate in captures.lows:
                try:
                    opened = open_capture(candidate.path, captures.mpp_low)
                except SlideError as error:
                    refusals.append(error)
                    continue
                with opened as low:
                    try:
                        aligned = AlignedCaptures.align(low, high, stop.check)
                    except DatasetError as error:
                        refusals.append(error)
                        continue
                    facts = self._write_pairs(writer, aligned, stop)
                    for slide in (high, low):
                        slide.check_unchanged()
                    unreadable = [str(error) for error in refusals if isinstance(error, SlideError)]
                    if unreadable:
                        facts.told["coarser captures that cannot be read"] = "; ".join(unreadable)
                    return facts
        raise self._explain_failure(refusals)

    def _explain_failure(self, refusals: Sequence[WsisrError]) -> WsisrError:
        """Return the error that says why none of the coarser captures can be used."""
        unreadable = [error for error in refusals if isinstance(error, SlideError)]
        if len(refusals) == 1 or len(unreadable) == len(refusals):
            return refusals[0]
        note = f", {len(unreadable)} of which cannot be read" if unreadable else ""
        return NoCommonTissueError(
            f"{self.captures.high.path}: no common tissue with any of {len(refusals)} coarser captures{note}; "
            "leave it out"
        )

    def _write_pairs(self, writer: ShardWriter, aligned: AlignedCaptures, stop: StopSignal) -> SlideFacts:
        facts = _collect_facts(self.captures.high, aligned)
        patches = list(aligned.register_patches(self.recipe.patch_px // aligned.scale, facts, stop.check))
        if patches:
            colours = ColourMatch.fit(_read_colour_samples(aligned, patches, stop))
            facts.told["colours"] = colours.describe()
            pair_writer = _PairWriter(aligned, self.captures.high, find_tissue(aligned.high.slide), colours)
            selected = sample_evenly(patches, self.recipe.most_patches)
            for patch in selected:
                stop.check()
                pair_writer.write_pair(writer, patch)
            relation = measure_relation((0, 0), aligned.scale, pair_writer.read_field_pairs(selected))
            # The patches passed their own limits, so a poor relation of the captures refuses none of them.
            facts.relations.append(replace(relation, refused=None))
        return facts


def plan_captured_dataset(
    pairs: Sequence[CaptureSet], folder: Path, recipe: Recipe, options: BuildOptions = DEFAULT_OPTIONS
) -> DatasetPlan:
    """Plan a dataset of captured pairs."""
    jobs = [CapturedJob(captures, recipe) for captures in pairs]
    return DatasetPlan(folder, jobs, {"kind": "captured", **recipe.describe()}, options, recipe.place_share)


def _read_colour_samples(
    aligned: AlignedCaptures, patches: Sequence[RegisteredPatch], stop: StopSignal
) -> Iterator[tuple[Float64Array, Float64Array]]:
    """Yield the colours of each patch in the finer capture, as the coarser one would show them, and in the coarser."""
    for patch in patches:
        stop.check()
        yield sample_colours(aligned.simulate_low(patch)), sample_colours(aligned.low.read(patch.box))


@dataclass(frozen=True, slots=True)
class _PairWriter:
    """Makes pairs of registered patches."""

    aligned: AlignedCaptures
    source: DatasetSlide
    tissue: TissueMap
    colours: ColourMatch

    def write_pair(self, writer: ShardWriter, patch: RegisteredPatch) -> None:
        raw, matched = self._warp_and_match(patch)
        low = self.aligned.low.read(patch.box)
        images = {"hr": writer.write_image(matched), "lr": writer.write_image(low), "hr-raw": writer.write_image(raw)}
        writer.add_record(replace(self._make_record(patch, matched), shard=writer.shard, images=images))

    def read_field_pairs(self, patches: Sequence[RegisteredPatch]) -> list[FieldPair]:
        """Return those of the pairs with most contrast, for measuring the relation of the registered captures."""
        low = self.aligned.low
        some = sample_evenly(patches, 4 * MAX_RELATION_FIELDS)
        by_contrast = sorted(some, key=lambda patch: -measure_contrast(low.read(patch.box)))
        return [
            FieldPair(patch.box * self.aligned.scale, self._warp_and_match(patch)[1], low.read(patch.box))
            for patch in by_contrast[:MAX_RELATION_FIELDS]
        ]

    def _warp_and_match(self, patch: RegisteredPatch) -> tuple[Rgb, Rgb]:
        """Return the finer capture on the grid of the coarser one, in its own colours and in those of the coarser."""
        raw = self.aligned.warp_high(patch)
        return round_to_uint8(raw), round_to_uint8(self.colours.apply(raw))

    def _make_record(self, patch: RegisteredPatch, high: Rgb) -> PatchRecord:
        """Make the record of a pair, whose shard and images are still missing."""
        scale, mpp = self.aligned.scale, require_pixel_size(self.aligned.low.slide, 0)
        box = patch.find_high_box()
        cells = self.tissue.mask_cells(self.aligned.high.slide.info.size, box, max(1, box.width // 8))
        return PatchRecord(
            slide=self.source.name,
            case=self.source.case,
            split=self.source.split,
            kind="captured",
            scale=scale,
            level=0,
            box=(box.left, box.top, box.right, box.bottom),
            mpp_hr=mpp / scale,
            mpp_lr=mpp,
            magnification=nearest_magnification(mpp / scale),
            contrast=round(measure_contrast(high), 2),
            focus=round(measure_focus(high), 3),
            tissue=round(float(np.mean(cells)), 3),
            fingerprint=compute_fingerprint(high),
            side=high.shape[0],
            shard="",
            images={},
            shift=(round(patch.shift[0], 3), round(patch.shift[1], 3)),
            residual=round(patch.fitted.expected_error, 4),
            parameters=self._describe_registration(patch),
        )

    def _describe_registration(self, patch: RegisteredPatch) -> dict[str, ParameterValue]:
        fitted = patch.fitted
        return {
            "low": self.aligned.low.slide.info.path.name,
            "low left": patch.box.left,
            "low top": patch.box.top,
            "correlation": round(fitted.correlation, 4),
            "strain": round(fitted.strain, 4),
            "turn": round(fitted.map.degrees, 4),
            "flip": fitted.map.is_mirrored,
            "ratio": round(fitted.map.scale, 5),
        }


def _collect_facts(source: DatasetSlide, aligned: AlignedCaptures) -> SlideFacts:
    facts, consensus = collect_slide_facts(source, aligned.high.slide, "captured"), aligned.consensus
    low_to_high = consensus.map
    mirrored = ", mirrored" if low_to_high.is_mirrored else ""
    facts.told = {
        "coarser capture": aligned.low.slide.info.path.name,
        "map": f"turned {low_to_high.degrees:.2f} degrees{mirrored}, scale {1 / low_to_high.scale:.4f},"
        f" stretched {low_to_high.stretch:.4f}",
        "anchors": f"{consensus.inliers} of {consensus.candidates} agree to {consensus.residual:.3f} um",
    }
    return facts
