"""The request of a preview: its options, declared for the command line and for Python, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsisr.errors import OptionError
from wsisr.imaging.geometry import Box
from wsisr.models.catalog import choose_default_scale
from wsisr.models.corrections import add_corrections
from wsisr.models.upscaler import Upscaler
from wsisr.slides import Slide, SlideInfo
from wsisr.slides.region import SlideRegion, require_mpp
from wsisr.upscaling.job import ModelLoader
from wsisr.upscaling.plan import training_range_warning
from wsisr.upscaling.preview import LARGEST_ZOOM, draw_sheet
from wsisr.upscaling.preview_places import find_preview_places
from wsisr.upscaling.provenance import DERIVED_WARNING, read_derived_metadata, refuse_derived
from wsisr.upscaling.request import AnyPath
from wsisr.upscaling.selection import PixelSelection, check_mpp_option

if TYPE_CHECKING:
    from PIL import Image

LARGEST_COUNT = 12
"""Regions that are found on one slide, at most."""


@dataclass(frozen=True, slots=True)
class PreviewRequest:
    """What to show of one slide. The options are those of `wsisr preview`, under the same names.

    Raises `OptionError` for options that no slide can fulfil.
    """

    slide: AnyPath
    _: KW_ONLY
    region: Sequence[int] | Sequence[Sequence[int]] | None = None
    """X, y, width and height in px of level 0, or several of these; by default all of a small slide, and of any other
    what is found on its tissue."""
    count: int = 1
    """Regions to find on the tissue, where none is given."""
    scale: int | None = None
    """2 or 4; by default what fits the pixel size."""
    series: int | None = None
    """Number of the image, where a file holds several."""
    level: int | None = None
    """Level to enlarge; 0, the finest, by default."""
    source_mpp: float | None = None
    """Pixel size to enlarge from, in um/px: a finer level is shrunk to it, and the truth stands beside the result."""
    truth: bool = False
    """Start from the slide shrunk by the scale, so that the slide itself stands beside the result."""
    zoom: int = 1
    """Px of the picture along each axis that show one of the result."""
    mpp: float | None = None
    """Pixel size of level 0 in um/px, where the slide does not record it, or records a wrong one."""
    model: AnyPath | None = None
    """Shipped model, weights file, `bicubic` or `lanczos`; the shipped model that fits by default."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:NUMBER`; for ONNX files also `tensorrt`."""
    perception: float = 0.0
    """0 for least error, up to 1 for crisp, by the model's GAN variant."""
    consistency: bool = False
    """Correct the result until its area mean is the input, noise and compression included."""
    guard: bool = True
    """Show bicubic where the network contradicts what the slide shows."""
    allow_derived: bool = False
    """Enlarge a slide that wsisr wrote: the result is an estimate of an estimate."""

    def __post_init__(self) -> None:
        _ = self.selections
        check_mpp_option(self.mpp)
        if self.truth and (self.source_mpp is not None or self.level is not None):
            raise OptionError("--truth chooses the pixel size; leave out --source-mpp and --level")
        if not 1 <= self.zoom <= LARGEST_ZOOM:
            raise OptionError(f"give a whole number from 1 to {LARGEST_ZOOM}", option="--zoom")
        if not 1 <= self.count <= LARGEST_COUNT:
            raise OptionError(f"give a whole number from 1 to {LARGEST_COUNT}", option="--count")
        if self.count > 1 and self.region is not None:
            raise OptionError("--count is for regions that are found; leave out --region, or repeat it")

    @property
    def slide_path(self) -> Path:
        return Path(self.slide)

    @property
    def boxes(self) -> tuple[Sequence[int] | None, ...]:
        """The given boxes in px of level 0; None alone for what is to be found."""
        if self.region is None:
            return (None,)
        region: Sequence[Any] = self.region
        return tuple(region) if len(region) and all(isinstance(box, Sized) for box in region) else (region,)

    @property
    def selections(self) -> tuple[PixelSelection, ...]:
        return tuple(PixelSelection(self.scale, self.level, self.source_mpp, region=box) for box in self.boxes)


@dataclass(frozen=True, slots=True)
class PreviewPlan:
    """Regions, what enlarges them, and how large their pixels are shown."""

    regions: tuple[SlideRegion, ...]
    upscaler: Upscaler
    zoom: int
    warnings: tuple[str, ...]
    """What the viewer of the picture must know before it is drawn; the upscaler's own come after."""

    def draw(self) -> Image.Image:
        """Draw the sheet. Raises `SlideError`."""
        return draw_sheet(self.regions, self.upscaler, self.zoom)


def plan_preview(request: PreviewRequest, slide: Slide, models: ModelLoader) -> PreviewPlan:
    """Choose the pixels and load the model. Raises `WsisrError` if the slide has no such pixels, or is a result."""
    if not request.allow_derived:
        refuse_derived(request.slide_path)
    derived = [DERIVED_WARNING] if request.allow_derived and read_derived_metadata(request.slide_path) else []
    name = None if request.model is None else str(request.model)
    selections = _select_truth(request, slide.info, name) if request.truth else request.selections
    regions = tuple(selection.select_region(slide) for selection in selections)
    scale = request.scale or selections[0].scale or choose_default_scale(regions[0].mpp, name)
    if request.region is None:
        places = find_preview_places(regions[0], request.count, scale * request.zoom)
        regions = tuple(crop_to_place(regions[0], place) for place in places)
    upscaler = models.load_upscaler(
        request.model,
        scale=scale,
        device=request.device,
        mpp=regions[0].mpp,
        perception=request.perception,
    )
    upscaler = add_corrections(upscaler, guard=request.guard, consistency=request.consistency)
    unknown = training_range_warning(upscaler, regions[0].mpp)
    warnings = dict.fromkeys(text for region in regions for text in region.warnings)
    return PreviewPlan(regions, upscaler, request.zoom, (*derived, *warnings, *([unknown] if unknown else [])))


def _select_truth(request: PreviewRequest, info: SlideInfo, model: str | None) -> tuple[PixelSelection, ...]:
    """Return the selections with the pixel size from which the scale leads to that of level 0."""
    mpp = require_mpp(info)
    scale = request.scale or choose_default_scale(mpp, model)
    return tuple(replace(selection, scale=scale, source_mpp=scale * mpp) for selection in request.selections)


def crop_to_place(region: SlideRegion, place: Box) -> SlideRegion:
    """Return the part of a region that a box in its own px shows."""
    left, top = (region.crop.left, region.crop.top) if region.crop else (0, 0)
    return replace(region, crop=place.translate(left, top))
