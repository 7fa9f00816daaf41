"""Where each image lies on the page: micrometres from the corner of the first scan, whatever the pixel sizes.

A result records which part of its slide it shows, and how large the slide's pixels were; so a region of another pitch
lies where it belongs. Images that record nothing begin at the same corner.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wsisr.errors import SlideError
from wsisr.slides import SlideInfo

_NUMBER = r"(-?\d{1,16}(?:\.\d{1,16})?(?:e(?:\+?\d\d?|-\d{1,3}))?)"
"""A number, of at most so many digits that what is computed from it is finite."""
_SMALLEST = 1e-9
"""Least number that others are divided by."""
_ORIGIN = re.compile(rf"{_NUMBER}, {_NUMBER} px of level 0")
_DOWNSAMPLE = re.compile(rf"{_NUMBER} px of level 0 per px")

_SAME_MPP = 1e-4
"""Relative difference below which a recorded pixel size is that of a slide on the page, rounded."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the level 0 of an image lies on the page. Without any pixel size, 1 um stands for 1 px."""

    left: float
    """um from the corner of the first scan."""
    top: float
    mpp: float
    """um/px of level 0."""
    is_recorded: bool
    """Whether the image is a result that says where it lies; else it is put at the corner."""

    def measure_extent(self, info: SlideInfo) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom in um."""
        right, bottom = self.left + info.size.width * self.mpp, self.top + info.size.height * self.mpp
        return self.left, self.top, right, bottom


def place_images(infos: Sequence[SlideInfo], derived: Sequence[Mapping[str, str]]) -> tuple[Placement, ...]:
    """Place images by what they record of themselves; `derived` holds the metadata of results, empty for scans.

    Raises `SlideError` where several images are shown and one has no pixel size, or two of them have no area in common.
    """
    unknown = [info for info in infos if info.mpp is None]
    if unknown and len(infos) > 1:
        raise SlideError(f"{unknown[0].path}: its pixel size is not recorded, so it has no place; give it with --mpp")
    scan_mpps = [info.mpp for info, metadata in zip(infos, derived, strict=True) if info.mpp and not metadata]
    placements = tuple(_place_image(info, metadata, scan_mpps) for info, metadata in zip(infos, derived, strict=True))
    _refuse_separate(infos, placements)
    return placements


@dataclass(frozen=True, slots=True)
class SourceRegion:
    """The part of a slide that a result, or a layer, records to be of."""

    left: float
    """um from the corner of the slide."""
    top: float
    mpp: float
    """um/px of the slide's pixels that it is made from."""
    level0_mpp: float
    """um/px of the slide's level 0."""


def parse_source_region(metadata: Mapping[str, str], scan_mpps: Sequence[float] = ()) -> SourceRegion | None:
    """Return the region that metadata of wsisr record; None where they record none.

    They hold six digits of the pixel size; one of `scan_mpps` that rounds to it is taken as it is.
    """
    origin = _ORIGIN.fullmatch(metadata.get("source origin", ""))
    downsample = _DOWNSAMPLE.fullmatch(metadata.get("source downsample", ""))
    source_mpp = _parse_positive(metadata.get("source mpp", ""))
    if not (origin and downsample and source_mpp and float(downsample[1]) > _SMALLEST):
        return None
    recorded = source_mpp / float(downsample[1])
    level0_mpp = next((scan for scan in scan_mpps if abs(scan / recorded - 1) < _SAME_MPP), recorded)
    return SourceRegion(
        float(origin[1]) * level0_mpp, float(origin[2]) * level0_mpp, level0_mpp * float(downsample[1]), level0_mpp
    )


def describe_other_scale(metadata: Mapping[str, str], scan: SlideInfo) -> str | None:
    """Return a warning if a result was made for another pixel size than its scan has on the page; None if not."""
    region = parse_source_region(metadata, [scan.mpp] if scan.mpp else [])
    if region is None or not scan.mpp or abs(region.level0_mpp / scan.mpp - 1) < _SAME_MPP:
        return None
    return (
        f"was made of a scan of {region.level0_mpp:.4g} um/px, where {scan.path.name} has {scan.mpp:.4g}: if it is the "
        "same scan, both are not in register"
    )


def _place_image(info: SlideInfo, metadata: Mapping[str, str], scan_mpps: Sequence[float]) -> Placement:
    mpp = info.mpp or 1.0
    region, scale = parse_source_region(metadata, scan_mpps), _parse_positive(metadata.get("scale", ""))
    is_whole = metadata.get("size", f"{info.size} px") == f"{info.size} px"  # other programs cut, and keep the texts
    if not (region and scale and is_whole):
        return Placement(0.0, 0.0, mpp, is_recorded=False)
    exact = region.mpp / scale
    return Placement(region.left, region.top, exact if abs(exact / mpp - 1) < _SAME_MPP else mpp, is_recorded=True)


def _parse_positive(text: str) -> float | None:
    return float(text) if re.fullmatch(_NUMBER, text) and _SMALLEST < float(text) < float("inf") else None


def _refuse_separate(infos: Sequence[SlideInfo], placements: Sequence[Placement]) -> None:
    left, top, right, bottom = placements[0].measure_extent(infos[0])
    for info, placement in zip(infos[1:], placements[1:], strict=True):
        other_left, other_top, other_right, other_bottom = placement.measure_extent(info)
        if min(right, other_right) <= max(left, other_left) or min(bottom, other_bottom) <= max(top, other_top):
            raise SlideError(
                f"{info.path}: lies at {other_left:.0f}, {other_top:.0f} um, beyond {infos[0].path.name} "
                f"({right - left:.0f} x {bottom - top:.0f} um): they are of different slides; look at one alone"
            )
