"""Pixel selection: the options that say which pixels to enlarge and by how much, and the checks of such options."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from wsisr.errors import WsisrError
from wsisr.models.spec import SCALES

if TYPE_CHECKING:
    from wsisr.imaging.geometry import Box
    from wsisr.slides import Slide, SlideInfo
    from wsisr.slides.region import SlideRegion
    from wsisr.upscaling.target import ScalePlan

UM_PER_MM = 1000

DEVICE_KINDS = ("auto", "cpu", "cuda", "tensorrt")
"""A colon and a number may follow each."""


@dataclass(frozen=True, slots=True)
class PixelSelection:
    """Options as given by the user. Raises `typer.BadParameter`, a usage error, for options that exclude each other."""

    scale: int | None
    level: int | None = None
    source_mpp: float | None = None
    target_mpp: float | None = None
    region: str | None = None
    region_mm: str | None = None
    whole_canvas: bool = False

    def __post_init__(self) -> None:
        if self.scale is not None and self.target_mpp is not None:
            raise typer.BadParameter("give only one of --scale and --target-mpp")
        if self.scale is not None:
            check_scale_option(self.scale)
        if sum(option is not None for option in (self.level, self.source_mpp, self.target_mpp)) > 1:
            raise typer.BadParameter("--level, --source-mpp and --target-mpp exclude each other")
        if sum((self.region is not None, self.region_mm is not None, self.whole_canvas)) > 1:
            raise typer.BadParameter("--region, --region-mm and --whole-canvas exclude each other")

    def scale_label(self) -> str:
        """Return `x2` or `0.25um` for the name of an output. Raises `typer.BadParameter` if neither option is given."""
        if self.scale is not None:
            return f"x{self.scale}"
        if self.target_mpp is not None:
            return f"{self.target_mpp:g}um"
        raise typer.BadParameter("give --scale 2, --scale 4 or --target-mpp")

    def plan_scale(self, slide: Slide) -> ScalePlan:
        """Return the region and the scale. Raises `SlideError` if the slide has no such pixels."""
        from wsisr.upscaling.target import ScalePlan, plan_scale

        if self.target_mpp is not None:
            return plan_scale(slide, self.target_mpp, self.selected_box(slide.info))
        assert self.scale is not None
        return ScalePlan(self.select_region(slide), self.scale)

    def select_region(self, slide: Slide) -> SlideRegion:
        """Select the region by level or pixel size. Raises `SlideError` if the slide has no such pixels."""
        from wsisr.slides.region import select_region

        return select_region(slide, self.level, self.source_mpp, self.selected_box(slide.info))

    def selected_box(self, info: SlideInfo) -> Box | None:
        """Return the selected box in level-0 px; None selects the scanned area."""
        from wsisr.imaging.geometry import Box
        from wsisr.slides.region import require_mpp

        if self.whole_canvas:
            return Box.from_size(info.size)
        if self.region is not None:
            return parse_box(self.region, "--region")
        if self.region_mm is not None:
            return parse_box(self.region_mm, "--region-mm", UM_PER_MM / require_mpp(info))
        return None


def check_choice(value: str | None, choices: Collection[str], option: str) -> None:
    """Raise `typer.BadParameter`, a usage error, unless the value is one of the choices or None."""
    if value is not None and value not in choices:
        *others, last = choices
        raise typer.BadParameter(f"choose {', '.join(others)} or {last}", param_hint=option)


@contextmanager
def report_as_usage_error(option: str) -> Iterator[None]:
    """Context: turn a `WsisrError` into a usage error of an option, for values that fit no slide and no machine."""
    try:
        yield
    except WsisrError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def check_device_option(device: str) -> None:
    """Raise `typer.BadParameter`, a usage error, for an unknown kind of device."""
    check_choice(device.partition(":")[0], DEVICE_KINDS, "--device")


def check_scale_option(scale: int) -> None:
    """Raise `typer.BadParameter`, a usage error, for an unknown scale."""
    if scale not in SCALES:
        raise typer.BadParameter("choose 2 or 4", param_hint="--scale")


def parse_box(text: str, option: str, px_per_unit: float = 1) -> Box:
    """Parse `X,Y,WIDTH,HEIGHT` into a box in px. Raises `typer.BadParameter`; pixels must be whole numbers."""
    from wsisr.imaging.geometry import Box

    try:
        left, top, width, height = (
            int(part) if px_per_unit == 1 else float(part) * px_per_unit for part in text.split(",")
        )
        return Box(round(left), round(top), round(left + width), round(top + height))
    except (ValueError, OverflowError):
        kind = "whole numbers" if px_per_unit == 1 else "numbers"
        raise typer.BadParameter(f"give four {kind}: X,Y,WIDTH,HEIGHT", param_hint=option) from None
