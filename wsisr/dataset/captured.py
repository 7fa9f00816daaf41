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

from wsisr.dataset.alignment import NoCommonTissueError, View, align, landing, located, pitch_of
from wsisr.dataset.builder import Plan, Stop
from wsisr.dataset.captures import open_capture
from wsisr.dataset.level_relation import Field, relation
from wsisr.dataset.patch_quality import contrast, fingerprint, focus
from wsisr.dataset.patch_selection import spread
from wsisr.dataset.recipe import Recipe
from wsisr.dataset.records import SCALES, PatchRecord, magnification_of
from wsisr.dataset.registration.acceptance import Reason
from wsisr.dataset.registration.affine import Affine
from wsisr.dataset.registration.consensus import Agreement
from wsisr.dataset.registration.refinement import Fit, Numbers, Target, Values
from wsisr.dataset.shard_writer import Part, SlideFacts, picture
from wsisr.dataset.slides_and_splits import DatasetSlide
from wsisr.errors import DatasetError, SlideError, WsisrError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, rounded
from wsisr.slides import Slide
from wsisr.tissue import TissueMap, tissue_of
from wsisr.tissue.detection import overview

REACH_PX = 2
"""How far a patch is looked for about the whole captures' map, in px of the coarser; stages err by less."""

ASTRAY = "leaves the map of the whole captures"

ASTRAY_PX = 1.0
"""Distance from that map above which a registration is not believed, in px of the coarser capture."""

SCALE_TOLERANCE = 1.25
"""Factor by which the ratio of the pitches may differ from a scale of `SCALES`."""

BROAD_PX = 4
"""Standard deviation, in px of the coarser capture, of the blur through which colours are compared."""

THUMBNAIL_PX = 360

FIELDS = 16
"""Pairs by which the relation of two captures is measured, at the most."""


@dataclass(frozen=True, slots=True)
class Captures:
    """A finer capture, and the coarser ones that may show its specimen."""

    high: DatasetSlide
    lows: tuple[DatasetSlide, ...]
    mpp_high: float | None = None
    mpp_low: float | None = None
    """Pixel pitches in um/px where the files' own are missing or wrong."""


@dataclass(frozen=True, slots=True)
class CapturedJob:
    """Pairs of one finer capture with the first of the coarser ones that shows the same tissue."""

    captures: Captures
    recipe: Recipe

    @property
    def name(self) -> str:
        return self.captures.high.stem

    @property
    def place(self) -> str:
        return str(self.captures.high.path)

    @property
    def identity(self) -> Mapping[str, str]:
        slides = (self.captures.high, *self.captures.lows)
        ages = {str(slide.path.resolve()): str(slide.age()) for slide in slides}
        return {**ages, "mpp": f"{self.captures.mpp_high} {self.captures.mpp_low}"}

    def __call__(self, part: Part, stop: Stop) -> SlideFacts:
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
                        scale = scale_of(low, high)
                        agreement = align(low, high, stop.check)
                    except DatasetError as error:
                        refused.append(error)
                        continue
                    facts = self._pairs(part, _Registering(low, high, agreement, scale, stop))
                    unread = [str(error) for error in refused if isinstance(error, SlideError)]
                    facts.told |= {"coarser captures that cannot be read": "; ".join(unread)} if unread else {}
                    return facts
        raise self._nothing(refused)

    def _nothing(self, refused: Sequence[WsisrError]) -> WsisrError:
        """Why none of the coarser captures will do."""
        unread = [error for error in refused if isinstance(error, SlideError)]
        if len(refused) == 1 or len(unread) == len(refused):
            return refused[0]
        also = f", {len(unread)} of which cannot be read" if unread else ""
        return NoCommonTissueError(
            f"{self.captures.high.path}: no common tissue with any of {len(refused)} coarser captures{also}; "
            "leave it out"
        )

    def _pairs(self, part: Part, work: _Registering) -> SlideFacts:
        facts = _facts(self.captures.high, work)
        found = list(work.found(self.recipe.patch_px // work.scale, facts))
        if found:
            colours = common_colours(work.samples(found))
            facts.told["colours"] = in_formulas(colours)
            cut = _Cut(work, self.captures.high, tissue_of(work.high), colours)
            kept = spread(found, self.recipe.most_patches)
            for box, fit in kept:
                work.stop.check()
                cut.into(part, box, fit)
            measured = relation((0, 0), work.scale, cut.fields(kept))
            facts.relations.append(asdict(replace(measured, refused=None)))
        return facts


def plan(pairs: Sequence[Captures], folder: Path, recipe: Recipe, workers: int = 1, *, overwrite: bool = False) -> Plan:
    """A dataset of captured pairs."""
    values = {name: str(value) for name, value in asdict(recipe).items()}
    jobs = [CapturedJob(captures, recipe) for captures in pairs]
    return Plan(folder, jobs, {"kind": "captured", **values}, workers, overwrite)


def scale_of(low: Slide, high: Slide) -> int:
    """The scale whose pairs two captures give. Raises `DatasetError` where their pitches fit none."""
    ratio = pitch_of(low, 0) / pitch_of(high, 0)
    scale = min(SCALES, key=lambda each: abs(np.log(ratio / each)))
    if not 1 / SCALE_TOLERANCE < ratio / scale < SCALE_TOLERANCE:
        raise DatasetError(
            f"{low.info.path}: its pixels are {ratio:.3g} times as coarse as those of {high.info.path.name}; "
            f"pairs need about {', '.join(map(str, SCALES))} times; name the coarser capture first"
        )
    return scale


@dataclass(frozen=True, slots=True)
class _Registering:
    """Patches of the coarser capture, each registered in the finer one."""

    low: Slide
    high: Slide
    agreement: Agreement
    scale: int
    stop: Stop

    @property
    def place(self) -> Affine:
        """From px of the coarser capture to px of the finer."""
        return self.agreement.map.scaled(pitch_of(self.low, 0), pitch_of(self.high, 0))

    @property
    def views(self) -> tuple[View, View]:
        return View.of(self.low, pitch_of(self.low, 0)), View.of(self.high, pitch_of(self.high, 0))

    def found(self, side: int, facts: SlideFacts) -> Iterator[tuple[Box, Fit]]:
        """Boxes of that many px that passed, with their maps; those that did not are counted by reason."""
        place, (low, high) = self.place, self.views
        for box in self._boxes(side, low.size, high.size):
            self.stop.check()
            patch = low.read(box)
            fit = located(patch, box, high, place, REACH_PX)
            if isinstance(fit, Fit) and self.astray(box, fit) > ASTRAY_PX * place.scale:
                facts.reject(ASTRAY, patch)
            elif isinstance(fit, Reason):
                facts.reject(str(fit), patch)
            else:
                yield box, fit

    def astray(self, box: Box, fit: Fit) -> float:
        """How far the middle of a box is from where the whole captures' map has it, in px of the finer capture."""
        return float(np.hypot(*self.shift(box, fit)))

    def shift(self, box: Box, fit: Fit) -> tuple[float, float]:
        middle = np.array([[box.width / 2, box.height / 2]])
        x, y = fit.map(middle)[0] - self.place.seen_from(box.left, box.top)(middle)[0]
        return float(x), float(y)

    def samples(self, found: list[tuple[Box, Fit]]) -> Iterator[tuple[Numbers, Numbers]]:
        """Of each patch: (n, 3) of the finer capture as the coarser one sees it, and (n, 3) of the coarser; both broad.

        What is fine differs by blur, noise and JPEG, and would pull colours towards grey.
        """
        low, high = self.views
        for box, fit in found:
            self.stop.check()
            around = high.within(landing(Box.of(box.size), fit.map, round(4 * fit.map.scale)))
            target = Target.seen_at(high.read(around), fit.map.scale)
            seen = target.view(fit.map.moved(-around.left, -around.top), box.size)
            yield broad(seen), broad(low.read(box))

    def _boxes(self, side: int, low: Size, high: Size) -> Iterator[Box]:
        """A grid without overlap, as far as it lies within the finer capture."""
        for top in range(0, low.height - side + 1, side):
            for left in range(0, low.width - side + 1, side):
                box = Box(left, top, left + side, top + side)
                if Box.of(high).contains(landing(box, self.place, 2)):
                    yield box


def broad(image: Rgb | Values) -> Numbers:
    """(h, w, 3) to (n, 3) of grey levels, blurred and thinned out."""
    light = cv2.GaussianBlur(image.astype(np.float32), (0, 0), BROAD_PX)
    return np.asarray(light[::BROAD_PX, ::BROAD_PX].reshape(-1, 3), np.float64)


def common_colours(samples: Iterator[tuple[Numbers, Numbers]]) -> Numbers:
    """(4, 3) that brings colours of the one closest to those of the other, by least squares over all."""
    gram, product = np.zeros((4, 4)), np.zeros((4, 3))
    for seen, light in samples:
        terms = np.column_stack([seen, np.ones(len(seen))])
        gram += terms.T @ terms
        product += terms.T @ light
    return np.asarray(np.linalg.solve(gram + np.diag([1.0, 1, 1, 0]), product))


def in_formulas(colours: Numbers) -> str:
    """What each colour of the high resolution was made of, to be read."""
    sums = (f"{r:.3f} R {g:+.3f} G {b:+.3f} B {one:+.1f}" for r, g, b, one in colours.T)
    return "; ".join(f"{name} = {terms}" for name, terms in zip("RGB", sums, strict=True))


@dataclass(frozen=True, slots=True)
class _Cut:
    """The making of pairs from registered patches."""

    work: _Registering
    source: DatasetSlide
    tissue: TissueMap
    colours: Numbers

    def into(self, part: Part, box: Box, fit: Fit) -> None:
        raw, matched = self._matched(box, fit)
        low = self.work.views[0].read(box)
        images = {"hr": part.keep(matched), "lr": part.keep(low), "hr-raw": part.keep(raw)}
        part.add(self._record(part, box, fit, matched, images, landing(Box.of(box.size), fit.map, 0)))

    def _matched(self, box: Box, fit: Fit) -> tuple[Rgb, Rgb]:
        """The finer capture on the coarser one's grid, in its own colours and in the coarser one's."""
        high = self.work.views[1]
        around = high.within(landing(Box.of(box.size), fit.map, 8))
        place = fit.map.moved(-around.left, -around.top)
        raw = warped(high.read(around), place, box.width * self.work.scale, self.work.scale)
        return rounded(raw), rounded(raw @ self.colours[:3] + self.colours[3])

    def fields(self, kept: list[tuple[Box, Fit]]) -> list[Field]:
        """Some pairs by which it is measured how they relate, once they lie on each other; those with most to see."""
        low = self.work.views[0]
        some = sorted(spread(kept, 4 * FIELDS), key=lambda each: -contrast(low.read(each[0])))[:FIELDS]
        return [Field(box * self.work.scale, self._matched(box, fit)[1], low.read(box)) for box, fit in some]

    def _record(
        self, part: Part, box: Box, fit: Fit, patch: Rgb, images: dict[str, tuple[int, int]], there: Box
    ) -> PatchRecord:
        mpp = pitch_of(self.work.low, 0)
        shift = self.work.shift(box, fit)
        cells = self.tissue.cells(self.work.high.info.size, there, max(1, there.width // 8))
        return PatchRecord(
            slide=self.source.name,
            case=self.source.case,
            split=self.source.split,
            kind="captured",
            scale=self.work.scale,
            level=0,
            box=(there.left, there.top, there.right, there.bottom),
            mpp_hr=mpp / self.work.scale,
            mpp_lr=mpp,
            magnification=magnification_of(mpp / self.work.scale),
            contrast=round(contrast(patch), 2),
            focus=round(focus(patch), 3),
            tissue=round(float(np.mean(cells)), 3),
            fingerprint=fingerprint(patch),
            side=patch.shape[0],
            shard=part.shard,
            images=images,
            shift=(round(shift[0], 3), round(shift[1], 3)),
            residual=round(fit.expected_error, 4),
            parameters=self._parameters(box, fit),
        )

    def _parameters(self, box: Box, fit: Fit) -> dict[str, str | int | float | bool | None]:
        return {
            "low": self.work.low.info.path.name,
            "low left": box.left,
            "low top": box.top,
            "correlation": round(fit.correlation, 4),
            "strain": round(fit.strain, 4),
            "turn": round(fit.map.degrees, 4),
            "flip": fit.map.flip,
            "ratio": round(fit.map.scale, 5),
        }


def warped(image: Rgb, place: Affine, side: int, scale: int) -> Numbers:
    """(side, side, 3) of grey levels, `scale` px for each px of what `place` maps to the image. Lanczos, 8 x 8 px."""
    fine = place.scaled(1 / scale, 1)
    matrix = np.column_stack([fine.matrix[:, :2], fine(np.array([[0.5, 0.5]]))[0] - 0.5])
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    found = cv2.warpAffine(
        image.astype(np.float32), matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(found, np.float64)


def _facts(source: DatasetSlide, work: _Registering) -> SlideFacts:
    slide, agreement, place = work.high, work.agreement, work.agreement.map
    size = slide.info.size
    facts = SlideFacts(
        source.name, source.case, source.split, "captured", (size.width, size.height), pitch_of(slide, 0)
    )
    facts.thumbnail = picture(overview(slide)[0], THUMBNAIL_PX)
    facts.told = {
        "coarser capture": work.low.info.path.name,
        "map": f"turned {place.degrees:.2f} degrees{', mirrored' * place.flip}, scale {1 / place.scale:.4f},"
        f" stretched {place.stretch:.4f}",
        "anchors": f"{agreement.agreeing} of {agreement.looked_at} agree to {agreement.residual:.3f} um",
    }
    return facts
