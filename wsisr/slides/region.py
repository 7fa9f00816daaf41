"""The pixels that are enlarged: a part of one level of a slide, or of one level resampled to an exact pixel pitch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.imaging.resampling import Resampled
from wsisr.slides import Slide, SlideInfo

SAME_PITCH = 0.01
"""Pitches that differ by less, as a share, are the same."""


@dataclass(frozen=True)
class Source:
    """A level seen at `factor` level pixels per pixel, along one axis; boxes are in these, from its own corner."""

    slide: Slide
    level: int
    factor: float = 1.0
    """Above 1 by area mean, below 1 by bicubic."""
    part: Box | None = None
    """In px of the level seen so; all of it by default."""
    remarks: tuple[str, ...] = ()
    """What the reader of the result must know of the choice."""

    @property
    def size(self) -> Size:
        return self.part.size if self.part else self._seen.size

    @property
    def sizes(self) -> tuple[Size, ...]:
        """How much it is in px of the level it is taken from, then its own size where it is resampled."""
        taken = self.slide.info.level(self.level).size
        if self.part:
            taken = Size(round(self.part.width * self.factor), round(self.part.height * self.factor))
        return tuple(dict.fromkeys((taken, self.size)))

    @property
    def mpp(self) -> float | None:
        """Pixel pitch in um/px; None where the slide does not say."""
        pitch = self.slide.info.level_mpp(self.level)
        return None if pitch is None else pitch * self.factor

    @property
    def pitches(self) -> tuple[float, ...]:
        """That of the level it is taken from, then its own where it is resampled; none where the slide is silent."""
        known = (self.slide.info.level_mpp(self.level), self.mpp)
        return tuple(dict.fromkeys(pitch for pitch in known if pitch is not None))

    @property
    def said(self) -> tuple[str, ...]:
        """What the reader of the result must know of the slide and of the choice."""
        return self.slide.info.remarks + self.remarks

    @property
    def downsample(self) -> float:
        """Level-0 px of the slide per pixel."""
        return self.slide.info.level(self.level).downsample * self.factor

    @property
    def origin(self) -> tuple[float, float]:
        """Where its left top corner lies, x and y in level-0 px of the slide: what annotations are moved by."""
        left, top = (self.part.left, self.part.top) if self.part else (0, 0)
        return left * self.downsample, top * self.downsample

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of what it shows, in level-0 px of the slide."""
        left, top = self.origin
        return left, top, left + self.size.width * self.downsample, top + self.size.height * self.downsample

    @property
    def readable(self) -> Box:
        """What `read` takes: a part can be read beyond its border, as far as the slide goes."""
        whole = Box.of(self._seen.size)
        return whole.seen_from(self.part) if self.part else whole

    def read(self, box: Box) -> Rgb:
        """Pixels of a readable box, (h, w, 3) sRGB.

        A pixel covers the same place of the level whichever box and whichever part it is read in.
        """
        place = box.moved(self.part.left, self.part.top) if self.part else box
        return self._seen.read(place, lambda inside: self.slide.read(inside, self.level))

    def reading_bytes(self, pixels: int) -> int:
        """Memory that `read` takes for so many pixels, besides theirs."""
        return self._seen.reading_bytes(pixels)

    def within(self, area: Box) -> Source:
        """The part that shows an area in level-0 px; each edge goes to the nearest pixel.

        Raises `SlideError` where the area is empty, outside the slide, or smaller than a pixel.
        """
        info = self.slide.info
        if not Box.of(info.size).contains(area) or not area.size.pixels:
            sides = (side * (info.mpp or 0) / 1000 for side in (info.size.width, info.size.height))
            in_mm = "" if info.mpp is None else " ({:.4g} x {:.4g} mm)".format(*sides)
            wrong = "is not inside" if area.size.pixels else "is less than a pixel, of"
            raise SlideError(
                f"{info.path}: region {area.size} px at {area.left}, {area.top} {wrong} {info.size} px{in_mm}; "
                "choose another one"
            )
        edges = (round(edge / self.downsample) for edge in (area.left, area.top, area.right, area.bottom))
        part = Box(*edges).intersection(Box.of(self._seen.size))
        if not part.size.pixels:
            raise SlideError(f"{info.path}: region {area.size} px is less than a pixel there; choose a larger one")
        return replace(self, part=part)

    def note(self) -> dict[str, str]:
        """What a result says of where its pixels come from. Neither names nor dates: they may name a patient."""
        before = f", {self.pitches[0]:.6g} um/px before resampling" if len(self.pitches) > 1 else ""
        facts = {
            "source level": str(self.level),
            "source mpp": "unknown" if self.mpp is None else f"{self.mpp:.6g}",
            "source pitch": self.slide.info.pitch + before,
            "source colours": self.slide.info.colours,
            "source size": f"{self.size.width} x {self.size.height} px",
            "source origin": "{:.10g}, {:.10g} px of level 0".format(*self.origin),
            "source downsample": f"{self.downsample:.10g} px of level 0 per px",
        }
        if self.slide.info.series is not None:
            facts["source series"] = f"{self.slide.info.series} of {len(self.slide.info.scenes)}"
        return facts | ({"source remarks": "; ".join(self.said)} if self.said else {})

    @cached_property
    def _seen(self) -> Resampled:
        return Resampled(self.slide.info.level(self.level).size, (self.factor, self.factor))


def source_of(slide: Slide, level: int | None = None, mpp: float | None = None, area: Box | None = None) -> Source:
    """A level by its number, or the coarsest level at least as fine as a pitch, shrunk to exactly that pitch.

    Without either, level 0. Of it the area, in level-0 px; by default what the slide says was scanned.
    Raises `SlideError` if there is no such level or area, or the slide has no level that fine.
    """
    source = Source(slide, level or 0) if mpp is None else _at_pitch(slide, mpp)
    slide.info.level(source.level)
    return part_of(source, area)


def part_of(source: Source, area: Box | None) -> Source:
    """What a source shows of an area in level-0 px; by default, of what the slide says was scanned."""
    area = area or source.slide.info.bounds
    return source if area is None else source.within(area)


def pitch_needed(info: SlideInfo) -> float:
    """Pixel pitch of level 0 in um/px. Raises `SlideError` where the slide does not say it."""
    if info.mpp is None:
        raise SlideError(f"{info.path}: pixel pitch is not recorded; give it in um/px (--mpp)")
    return info.mpp


def reaches(info: SlideInfo, mpp: float) -> bool:
    """Whether a slide was scanned at least as finely as a pitch. Raises `SlideError` where its own is not known."""
    return pitch_needed(info) <= mpp * (1 + SAME_PITCH)


def _at_pitch(slide: Slide, mpp: float) -> Source:
    finest = pitch_needed(slide.info)
    if not reaches(slide.info, mpp):
        raise SlideError(
            f"{slide.info.path}: its finest level has {finest:.4g} um/px, coarser than {mpp:g}; "
            f"choose {finest:.4g} or more; finer ones are for upscale --target-mpp"
        )
    pitches = [finest * each.downsample for each in slide.info.levels]
    fine = [number for number, pitch in enumerate(pitches) if pitch <= mpp * (1 + SAME_PITCH)]
    factor = mpp / pitches[fine[-1]]
    return Source(slide, fine[-1], 1.0 if abs(factor - 1) <= SAME_PITCH else factor)
