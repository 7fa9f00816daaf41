"""Captured pairs: one specimen captured twice, at two pitches; every patch registered on its own, and gated.

The coarser capture is never resampled: its patches are cut on its own grid. The finer one is warped onto that grid by
Lanczos' kernel of 4 px. Its colours are fitted to the coarser one's, once for the whole pair of captures; as captured
they are kept too (`hr-raw`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from wsisr.dataset.alignment import (
    NoCommonTissueError,
    SlideView,
    align_captures,
    map_box,
    register_patch,
    require_pixel_size,
)
from wsisr.dataset.builder import DatasetPlan, StopSignal
from wsisr.dataset.captures import open_capture
from wsisr.dataset.level_relation import FieldPair, measure_relation
from wsisr.dataset.patch_quality import compute_fingerprint, measure_contrast, measure_focus
from wsisr.dataset.patch_selection import sample_evenly
from wsisr.dataset.recipe import Recipe
from wsisr.dataset.records import SCALES, PatchRecord, nearest_magnification
from wsisr.dataset.registration.acceptance import RegistrationFailure
from wsisr.dataset.registration.affine import Affine
from wsisr.dataset.registration.consensus import MapConsensus
from wsisr.dataset.registration.refinement import FittedMap, Float64Array, PixelValues, RegistrationTarget
from wsisr.dataset.shard_writer import ShardWriter, SlideFacts, encode_picture
from wsisr.dataset.slides_and_splits import DatasetSlide
from wsisr.errors import DatasetError, SlideError, WsisrError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, round_to_uint8
from wsisr.slides import Slide
from wsisr.tissue import TissueMap, find_tissue
from wsisr.tissue.detection import read_overview

PATCH_SEARCH_PX = 2
"""How far a patch is looked for about the whole captures' map, in px of the coarser; stages err by less."""

FAR_FROM_MAP = "leaves the map of the whole captures"

MAX_DISTANCE_PX = 1.0
"""Distance from that map above which a registration is not believed, in px of the coarser capture."""

SCALE_TOLERANCE = 1.25
"""Factor by which the ratio of the pitches may differ from a scale of `SCALES`."""

COLOUR_BLUR_PX = 4
"""Standard deviation, in px of the coarser capture, of the blur through which colours are compared."""

THUMBNAIL_SIDE_PX = 360

RELATION_PAIRS = 16
"""Pairs by which the relation of two captures is measured, at the most."""


@dataclass(frozen=True, slots=True)
class CaptureSet:
    """A finer capture, and the coarser ones that may show its specimen."""

    high: DatasetSlide
    lows: tuple[DatasetSlide, ...]
    mpp_high: float | None = None
    mpp_low: float | None = None
    """Pixel pitches in um/px where the files' own are missing or wrong."""


@dataclass(frozen=True, slots=True)
class CapturedJob:
    """Pairs of one finer capture with the first of the coarser ones that shows the same tissue."""

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
        ages = {str(slide.path.resolve()): str(slide.file_state()) for slide in slides}
        return {**ages, "mpp": f"{self.captures.mpp_high} {self.captures.mpp_low}"}

    def __call__(self, part: ShardWriter, stop: StopSignal) -> SlideFacts:
        """Raises `DatasetError` or `SlideError` where the captures cannot be used, or show no common tissue."""
        captures = self.captures
        with open_capture(captures.high.path, captures.mpp_high) as high:
            refused: list[WsisrError] = []
            for source in captures.lows:
                try:
                    opened = open_capture(source.path, captures.mpp_low)
                except SlideError as error:
                    refused.append(error)
                    continue
                with opened as low:
                    try:
                        scale = find_scale(low, high)
                        agreement = align_captures(low, high, stop.check)
                    except DatasetError as error:
                        refused.append(error)
                        continue
                    facts = self._write_pairs(part, _CaptureRegistration(low, high, agreement, scale, stop))
                    unread = [str(error) for error in refused if isinstance(error, SlideError)]
                    facts.told |= {"coarser captures that cannot be read": "; ".join(unread)} if unread else {}
                    return facts
        raise self._explain_failure(refused)

    def _explain_failure(self, refused: Sequence[WsisrError]) -> WsisrError:
        """Why none of the coarser captures will do."""
        unread = [error for error in refused if isinstance(error, SlideError)]
        if len(refused) == 1 or len(unread) == len(refused):
            return refused[0]
        also = f", {len(unread)} of which cannot be read" if unread else ""
        return NoCommonTissueError(
            f"{self.captures.high.path}: no common tissue with any of {len(refused)} coarser captures{also}; "
            "leave it out"
        )

    def _write_pairs(self, part: ShardWriter, work: _CaptureRegistration) -> SlideFacts:
        facts = _collect_facts(self.captures.high, work)
        found = list(work.register_patches(self.recipe.patch_px // work.scale, facts))
        if found:
            colours = fit_colours(work.read_colour_samples(found))
            facts.told["colours"] = format_colour_matrix(colours)
            cut = _PairWriter(work, self.captures.high, find_tissue(work.high), colours)
            kept = sample_evenly(found, self.recipe.most_patches)
            for box, fit in kept:
                work.stop.check()
                cut.write_pair(part, box, fit)
            measured = measure_relation((0, 0), work.scale, cut.read_field_pairs(kept))
            facts.relations.append(asdict(replace(measured, refused=None)))
        return facts


def plan_captured_dataset(
    pairs: Sequence[CaptureSet], folder: Path, recipe: Recipe, workers: int = 1, *, overwrite: bool = False
) -> DatasetPlan:
    """A dataset of captured pairs."""
    values = {name: str(value) for name, value in asdict(recipe).items()}
    jobs = [CapturedJob(captures, recipe) for captures in pairs]
    return DatasetPlan(folder, jobs, {"kind": "captured", **values}, workers, overwrite)


def find_scale(low: Slide, high: Slide) -> int:
    """The scale whose pairs two captures give. Raises `DatasetError` where their pitches fit none."""
    ratio = require_pixel_size(low, 0) / require_pixel_size(high, 0)
    scale = min(SCALES, key=lambda each: abs(np.log(ratio / each)))
    if not 1 / SCALE_TOLERANCE < ratio / scale < SCALE_TOLERANCE:
        raise DatasetError(
            f"{low.info.path}: its pixels are {ratio:.3g} times as coarse as those of {high.info.path.name}; "
            f"pairs need about {', '.join(map(str, SCALES))} times; name the coarser capture first"
        )
    return scale


@dataclass(frozen=True, slots=True)
class _CaptureRegistration:
    """Patches of the coarser capture, each registered in the finer one."""

    low: Slide
    high: Slide
    agreement: MapConsensus
    scale: int
    stop: StopSignal

    @property
    def global_map(self) -> Affine:
        """From px of the coarser capture to px of the finer."""
        return self.agreement.map.rescale(require_pixel_size(self.low, 0), require_pixel_size(self.high, 0))

    @property
    def views(self) -> tuple[SlideView, SlideView]:
        return SlideView.at_pixel_size(self.low, require_pixel_size(self.low, 0)), SlideView.at_pixel_size(
            self.high, require_pixel_size(self.high, 0)
        )

    def register_patches(self, side: int, facts: SlideFacts) -> Iterator[tuple[Box, FittedMap]]:
        """Boxes of that many px that passed, with their maps; those that did not are counted by reason."""
        place, (low, high) = self.global_map, self.views
        for box in self._grid_boxes(side, low.size, high.size):
            self.stop.check()
            patch = low.read(box)
            fit = register_patch(patch, box, high, place, PATCH_SEARCH_PX)
            if isinstance(fit, FittedMap) and self.distance_from_map(box, fit) > MAX_DISTANCE_PX * place.scale:
                facts.reject(FAR_FROM_MAP, patch)
            elif isinstance(fit, RegistrationFailure):
                facts.reject(str(fit), patch)
            else:
                yield box, fit

    def distance_from_map(self, box: Box, fit: FittedMap) -> float:
        """How far the middle of a box is from where the whole captures' map has it, in px of the finer capture."""
        return float(np.hypot(*self.shift_from_map(box, fit)))

    def shift_from_map(self, box: Box, fit: FittedMap) -> tuple[float, float]:
        middle = np.array([[box.width / 2, box.height / 2]])
        x, y = fit.map(middle)[0] - self.global_map.shift_origin(box.left, box.top)(middle)[0]
        return float(x), float(y)

    def read_colour_samples(self, found: list[tuple[Box, FittedMap]]) -> Iterator[tuple[Float64Array, Float64Array]]:
        """Of each patch: (n, 3) of the finer capture as the coarser one sees it, and (n, 3) of the coarser; both broad.

        What is fine differs by blur, noise and JPEG, and would pull colours towards grey.
        """
        low, high = self.views
        for box, fit in found:
            self.stop.check()
            around = high.clip(map_box(Box.from_size(box.size), fit.map, round(4 * fit.map.scale)))
            target = RegistrationTarget.prepare(high.read(around), fit.map.scale)
            seen = target.resample(fit.map.translate(-around.left, -around.top), box.size)
            yield blur_and_thin(seen), blur_and_thin(low.read(box))

    def _grid_boxes(self, side: int, low: Size, high: Size) -> Iterator[Box]:
        """A grid without overlap, as far as it lies within the finer capture."""
        for top in range(0, low.height - side + 1, side):
            for left in range(0, low.width - side + 1, side):
                box = Box(left, top, left + side, top + side)
                if Box.from_size(high).contains(map_box(box, self.global_map, 2)):
                    yield box


def blur_and_thin(image: Rgb | PixelValues) -> Float64Array:
    """(h, w, 3) to (n, 3) of grey levels, blurred and thinned out."""
    light = cv2.GaussianBlur(image.astype(np.float32), (0, 0), COLOUR_BLUR_PX)
    return np.asarray(light[::COLOUR_BLUR_PX, ::COLOUR_BLUR_PX].reshape(-1, 3), np.float64)


def fit_colours(samples: Iterator[tuple[Float64Array, Float64Array]]) -> Float64Array:
    """(4, 3) that brings colours of the one closest to those of the other, by least squares over all."""
    gram, product = np.zeros((4, 4)), np.zeros((4, 3))
    for seen, light in samples:
        terms = np.column_stack([seen, np.ones(len(seen))])
        gram += terms.T @ terms
        product += terms.T @ light
    return np.asarray(np.linalg.solve(gram + np.diag([1.0, 1, 1, 0]), product))


def format_colour_matrix(colours: Float64Array) -> str:
    """What each colour of the high resolution was made of, to be read."""
    sums = (f"{r:.3f} R {g:+.3f} G {b:+.3f} B {one:+.1f}" for r, g, b, one in colours.T)
    return "; ".join(f"{name} = {terms}" for name, terms in zip("RGB", sums, strict=True))


@dataclass(frozen=True, slots=True)
class _PairWriter:
    """The making of pairs from registered patches."""

    registration: _CaptureRegistration
    source: DatasetSlide
    tissue: TissueMap
    colours: Float64Array

    def write_pair(self, part: ShardWriter, box: Box, fit: FittedMap) -> None:
        raw, matched = self._read_matched(box, fit)
        low = self.registration.views[0].read(box)
        images = {"hr": part.write_image(matched), "lr": part.write_image(low), "hr-raw": part.write_image(raw)}
        part.add_record(
            self._make_record(part, box, fit, matched, images, map_box(Box.from_size(box.size), fit.map, 0))
        )

    def _read_matched(self, box: Box, fit: FittedMap) -> tuple[Rgb, Rgb]:
        """The finer capture on the coarser one's grid, in its own colours and in the coarser one's."""
        high = self.registration.views[1]
        around = high.clip(map_box(Box.from_size(box.size), fit.map, 8))
        place = fit.map.translate(-around.left, -around.top)
        raw = warp_to_grid(high.read(around), place, box.width * self.registration.scale, self.registration.scale)
        return round_to_uint8(raw), round_to_uint8(raw @ self.colours[:3] + self.colours[3])

    def read_field_pairs(self, kept: list[tuple[Box, FittedMap]]) -> list[FieldPair]:
        """Some pairs by which it is measured how they relate, once they lie on each other; those with most to see."""
        low = self.registration.views[0]
        some = sorted(sample_evenly(kept, 4 * RELATION_PAIRS), key=lambda each: -measure_contrast(low.read(each[0])))[
            :RELATION_PAIRS
        ]
        return [
            FieldPair(box * self.registration.scale, self._read_matched(box, fit)[1], low.read(box))
            for box, fit in some
        ]

    def _make_record(
        self, part: ShardWriter, box: Box, fit: FittedMap, patch: Rgb, images: dict[str, tuple[int, int]], there: Box
    ) -> PatchRecord:
        mpp = require_pixel_size(self.registration.low, 0)
        shift = self.registration.shift_from_map(box, fit)
        cells = self.tissue.mask_cells(self.registration.high.info.size, there, max(1, there.width // 8))
        return PatchRecord(
            slide=self.source.name,
            case=self.source.case,
            split=self.source.split,
            kind="captured",
            scale=self.registration.scale,
            level=0,
            box=(there.left, there.top, there.right, there.bottom),
            mpp_hr=mpp / self.registration.scale,
            mpp_lr=mpp,
            magnification=nearest_magnification(mpp / self.registration.scale),
            contrast=round(measure_contrast(patch), 2),
            focus=round(measure_focus(patch), 3),
            tissue=round(float(np.mean(cells)), 3),
            fingerprint=compute_fingerprint(patch),
            side=patch.shape[0],
            shard=part.shard,
            images=images,
            shift=(round(shift[0], 3), round(shift[1], 3)),
            residual=round(fit.expected_error, 4),
            parameters=self._describe_registration(box, fit),
        )

    def _describe_registration(self, box: Box, fit: FittedMap) -> dict[str, str | int | float | bool | None]:
        return {
            "low": self.registration.low.info.path.name,
            "low left": box.left,
            "low top": box.top,
            "correlation": round(fit.correlation, 4),
            "strain": round(fit.strain, 4),
            "turn": round(fit.map.degrees, 4),
            "flip": fit.map.is_mirrored,
            "ratio": round(fit.map.scale, 5),
        }


def warp_to_grid(image: Rgb, place: Affine, side: int, scale: int) -> Float64Array:
    """(side, side, 3) of grey levels, `scale` px for each px of what `place` maps to the image. Lanczos, 8 x 8 px."""
    fine = place.rescale(1 / scale, 1)
    matrix = np.column_stack([fine.matrix[:, :2], fine(np.array([[0.5, 0.5]]))[0] - 0.5])
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    found = cv2.warpAffine(
        image.astype(np.float32), matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(found, np.float64)


def _collect_facts(source: DatasetSlide, work: _CaptureRegistration) -> SlideFacts:
    slide, agreement, place = work.high, work.agreement, work.agreement.map
    size = slide.info.size
    facts = SlideFacts(
        source.name, source.case, source.split, "captured", (size.width, size.height), require_pixel_size(slide, 0)
    )
    facts.thumbnail = encode_picture(read_overview(slide)[0], THUMBNAIL_SIDE_PX)
    facts.told = {
        "coarser capture": work.low.info.path.name,
        "map": f"turned {place.degrees:.2f} degrees{', mirrored' * place.is_mirrored}, scale {1 / place.scale:.4f},"
        f" stretched {place.stretch:.4f}",
        "anchors": f"{agreement.inliers} of {agreement.candidates} agree to {agreement.residual:.3f} um",
    }
    return facts
