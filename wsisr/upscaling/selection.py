"""Pixel selection: which pixels of a slide to enlarge, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from wsisr.errors import OptionError
from wsisr.imaging.geometry import Box
from wsisr.models.spec import SCALES
from wsisr.slides import Slide, SlideInfo
from wsisr.slides.pixel_size import COARSEST_MPP, FINEST_MPP, is_plausible_mpp
from wsisr.slides.region import SlideRegion, require_mpp, select_region
from wsisr.upscaling.target import ScalePlan, plan_scale

UM_PER_MM = 1000


@dataclass(frozen=True, slots=True)
class PixelSelection:
    """A part of a slide, the level or pixel size to take it from, and the scale or pixel size to bring it to.

    Raises `OptionError` for options that exclude each other.
    """

    scale: int | None = None
    level: int | None = None
    source_mpp: float | None = None
    target_mpp: float | None = None
    region: Sequence[int] | None = None
    """X, y, width and height in px of level 0."""
    region_mm: Sequence[float] | None = None
    """X, y, width and height in millimetres."""
    whole_canvas: bool = False

    def __post_init__(self) -> None:
        if self.scale is not None and self.target_mpp is not None:
            raise OptionError("give only one of --scale and --target-mpp")
        if self.scale is not None and self.scale not in SCALES:
            raise OptionError("choose 2 or 4", option="--scale")
        if sum(option is not None for option in (self.level, self.source_mpp, self.target_mpp)) > 1:
            raise OptionError("--level, --source-mpp and --target-mpp exclude each other")
        if sum((self.region is not None, self.region_mm is not None, self.whole_canvas)) > 1:
            raise OptionError("--region, --region-mm and --whole-canvas exclude each other")
        for mpp, option in ((self.source_mpp, "--source-mpp"), (self.target_mpp, "--target-mpp")):
            check_mpp_option(mpp, option)
        for area, option in ((self.region, "--region"), (self.region_mm, "--region-mm")):
            if area is not None and (len(area) != 4 or not all(map(isfinite, area))):
                raise OptionError("give four numbers: X,Y,WIDTH,HEIGHT", option=option)
            if area is not None and min(area[2:]) <= 0:
                raise OptionError("width and height must be above 0: X,Y,WIDTH,HEIGHT", option=option)

    @property
    def scale_label(self) -> str:
        """`x2` or `0.25um`, for the name of an output. Raises `OptionError` if neither option is given."""
        if self.scale is not None:
            return f"x{self.scale}"
        if self.target_mpp is not None:
            return f"{self.target_mpp:g}um"
        raise OptionError("give --scale 2, --scale 4 or --target-mpp")

    def plan_scale(self, slide: Slide) -> ScalePlan:
        """Return the region and the scale. Raises `SlideError` if the slide has no such pixels."""
        if self.target_mpp is not None:
            return plan_scale(slide, self.target_mpp, self.select_box(slide.info))
        assert self.scale is not None
        return ScalePlan(self.select_region(slide), self.scale)

    def select_region(self, slide: Slide) -> SlideRegion:
        """Select the region by level or pixel size. Raises `SlideError` if the slide has no such pixels."""
        return select_region(slide, self.level, self.source_mpp, self.select_box(slide.info))

    def select_box(self, info: SlideInfo) -> Box | None:
        """Return the selected box in level-0 px; None selects the scanned area."""
        if self.whole_canvas:
            return Box.from_size(info.size)
        if self.region is not None:
            left, top, width, height = self.region
            return Box(left, top, left + width, top + height)
        if self.region_mm is not None:
            px_per_mm = UM_PER_MM / require_mpp(info)
            left_px, top_px, width_px, height_px = (value * px_per_mm for value in self.region_mm)
            return Box(round(left_px), round(top_px), round(left_px + width_px), round(top_px + height_px))
        return None


def check_mpp_option(mpp: float | None, option: str = "--mpp") -> None:
    """Raise `OptionError` for a pixel size in um/px that no slide has; None is no option."""
    if mpp is not None and not is_plausible_mpp(mpp):
        limits = f"{FINEST_MPP:g} to {COARSEST_MPP:g} um/px"
        raise OptionError(f"no slide has pixels of {mpp:g} um; give {limits}", option=option)
