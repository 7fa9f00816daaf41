"""Slide regions, the input of super-resolution: a crop of one level, as stored or resampled to an exact pixel size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.imaging.resampling import ResampledGrid
from wsisr.slides import Slide, SlideInfo

MPP_TOLERANCE = 0.01
"""Relative difference up to which two pixel sizes count as the same, and nothing is resampled."""


@dataclass(frozen=True)
class SlideRegion:
    """A crop of a level, resampled by a factor.

    Boxes count in px of the region after resampling, from its own top left corner.
    """

    slide: Slide
    level: int
    resampling_factor: float = 1.0
    """Level px per region px along one axis: above 1 shrinks by area mean, below 1 enlarges by bicubic."""
    crop: Box | None = None
    """Where the region lies in the whole resampled level, in px of it; None for all of the level."""
    selection_warnings: tuple[str, ...] = ()
    """Doubts about this choice of level and factor that a user of the result must know."""

    @property
    def size(self) -> Size:
        return self.crop.size if self.crop else self._grid.size

    @property
    def size_steps(self) -> tuple[Size, ...]:
        """The region's size in px of its level, then its own size where that is another one."""
        factor = self.resampling_factor
        in_level = self.slide.info.get_level(self.level).size
        if self.crop:
            in_level = Size(round(self.crop.width * factor), round(self.crop.height * factor))
        return tuple(dict.fromkeys((in_level, self.size)))

    @property
    def mpp(self) -> float | None:
        """Pixel size in um/px; None where that of the slide is not known."""
        level_mpp = self.slide.info.level_mpp(self.level)
        return None if level_mpp is None else level_mpp * self.resampling_factor

    @property
    def mpp_steps(self) -> tuple[float, ...]:
        """Pixel size of its level, then its own where it is resampled; empty where the slide's is not known."""
        steps = (self.slide.info.level_mpp(self.level), self.mpp)
        return tuple(dict.fromkeys(mpp for mpp in steps if mpp is not None))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Doubts about the slide and about the choice that a user of the result must know."""
        return self.slide.info.warnings + self.selection_warnings

    @property
    def downsample(self) -> float:
        """Level-0 px of the slide per px of the region."""
        return self.slide.info.get_level(self.level).downsample * self.resampling_factor

    @property
    def level0_origin(self) -> tuple[float, float]:
        """x and y of the region's top left corner, in level-0 px of the slide: the shift for annotations."""
        left, top = (self.crop.left, self.crop.top) if self.crop else (0, 0)
        return left * self.downsample, top * self.downsample

    @property
    def level0_extent(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the region, in level-0 px of the slide."""
        left, top = self.level0_origin
        return left, top, left + self.size.width * self.downsample, top + self.size.height * self.downsample

    @property
    def readable_box(self) -> Box:
        """The box that `read` can read: beyond the region's border too, as far as the level goes."""
        whole = Box.from_size(self._grid.size)
        return whole.relative_to(self.crop) if self.crop else whole

    def read(self, box: Box) -> Rgb:
        """Read a box within `readable_box` as (h, w, 3) sRGB.

        A pixel covers the same place of the level in whichever box and whichever crop it is read.
        """
        grid_box = box.translate(self.crop.left, self.crop.top) if self.crop else box
        return self._grid.read(grid_box, lambda level_box: self.slide.read(level_box, self.level))

    def working_bytes(self, pixels: int) -> int:
        """Return the memory in bytes that reading so many pixels takes, besides the pixels themselves."""
        return self._grid.working_bytes(pixels)

    def crop_to_area(self, area: Box) -> SlideRegion:
        """Return the part that shows an area in level-0 px; each edge is rounded to the nearest pixel.

        Raises `SlideError` where the area is empty, outside the slide, or smaller than a pixel of the region.
        """
        info = self.slide.info
        if not Box.from_size(info.size).contains(area) or not area.size.pixel_count:
            sides = (side * (info.mpp or 0) / 1000 for side in (info.size.width, info.size.height))
            in_mm = "" if info.mpp is None else " ({:.4g} x {:.4g} mm)".format(*sides)
            problem = "is not inside" if area.size.pixel_count else "holds none of"
            raise SlideError(
                f"{info.path}: region {area.size} px at {area.left}, {area.top} {problem} the slide's "
                f"{info.size} px{in_mm}; choose another region"
            )
        edges = (round(edge / self.downsample) for edge in (area.left, area.top, area.right, area.bottom))
        part = Box(*edges).intersection(Box.from_size(self._grid.size))
        if not part.size.pixel_count:
            raise SlideError(
                f"{info.path}: region {area.size} px is less than one pixel at this resolution; choose a larger region"
            )
        return replace(self, crop=part)

    def build_metadata(self) -> dict[str, str]:
        """Return metadata on where a result's pixels come from; without names and dates, which may name a patient."""
        before = f", {self.mpp_steps[0]:.6g} um/px before resampling" if len(self.mpp_steps) > 1 else ""
        metadata = {
            "source level": str(self.level),
            "source mpp": "unknown" if self.mpp is None else f"{self.mpp:.6g}",
            "source pitch": self.slide.info.mpp_origin + before,
            "source colours": self.slide.info.colour_handling,
            "source size": f"{self.size.width} x {self.size.height} px",
            "source origin": "{:.10g}, {:.10g} px of level 0".format(*self.level0_origin),
            "source downsample": f"{self.downsample:.10g} px of level 0 per px",
        }
        if self.slide.info.series_number is not None:
            metadata["source series"] = f"{self.slide.info.series_number} of {len(self.slide.info.all_series)}"
        return metadata | ({"source remarks": "; ".join(self.warnings)} if self.warnings else {})

    @cached_property
    def _grid(self) -> ResampledGrid:
        factors = (self.resampling_factor, self.resampling_factor)
        return ResampledGrid(self.slide.info.get_level(self.level).size, factors)


def select_region(
    slide: Slide, level: int | None = None, mpp: float | None = None, area: Box | None = None
) -> SlideRegion:
    """Select a level by its number, or a pixel size; without either, level 0.

    For a pixel size in um/px, the coarsest level that is at least as fine is shrunk to exactly that size.
    `area`, in level-0 px, crops the level; by default it is cropped to the scanned area, if the slide records one.
    Raises `SlideError` if there is no such level or area, or the slide has no level that fine.
    """
    region = SlideRegion(slide, level or 0) if mpp is None else _select_region_at_mpp(slide, mpp)
    slide.info.get_level(region.level)
    return crop_region(region, area)


def crop_region(region: SlideRegion, area: Box | None) -> SlideRegion:
    """Crop a region to an area in level-0 px; by default to the scanned area, if the slide records one."""
    area = area or region.slide.info.bounds
    return region if area is None else region.crop_to_area(area)


def require_mpp(info: SlideInfo) -> float:
    """Return the pixel size of level 0 in um/px. Raises `SlideError` where it is not known."""
    if info.mpp is None:
        raise SlideError(f"{info.path}: the pixel size is not recorded; give it in um/px (--mpp)")
    return info.mpp


def is_fine_enough(info: SlideInfo, mpp: float) -> bool:
    """Whether level 0 is at least as fine as `mpp` um/px. Raises `SlideError` where its pixel size is not known."""
    return require_mpp(info) <= mpp * (1 + MPP_TOLERANCE)


def find_level_for_mpp(info: SlideInfo, mpp: float) -> int:
    """Return the number of the coarsest level at least as fine as `mpp` um/px; 0 where none is.

    Raises `SlideError` where the slide's pixel size is not known.
    """
    finest = require_mpp(info)
    return info.find_coarsest_level(lambda level: finest * level.downsample <= mpp * (1 + MPP_TOLERANCE))


def _select_region_at_mpp(slide: Slide, mpp: float) -> SlideRegion:
    finest = require_mpp(slide.info)
    if not is_fine_enough(slide.info, mpp):
        raise SlideError(
            f"{slide.info.path}: its finest level has {finest:.4g} um/px, coarser than {mpp:g}; "
            f"choose {finest:.4g} or more, or upscale to a finer one with --target-mpp"
        )
    number = find_level_for_mpp(slide.info, mpp)
    factor = mpp / (finest * slide.info.levels[number].downsample)
    return SlideRegion(slide, number, 1.0 if abs(factor - 1) <= MPP_TOLERANCE else factor)
