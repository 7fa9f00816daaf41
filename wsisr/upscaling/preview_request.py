"""The request of a preview: its options, declared for the command line and for Python, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from wsisr.models.catalog import choose_default_scale
from wsisr.models.corrections import add_corrections
from wsisr.models.upscaler import Upscaler
from wsisr.slides import Slide
from wsisr.slides.region import SlideRegion
from wsisr.upscaling.job import ModelLoader
from wsisr.upscaling.plan import training_range_warning
from wsisr.upscaling.provenance import DERIVED_WARNING, read_derived_metadata, refuse_derived
from wsisr.upscaling.request import AnyPath
from wsisr.upscaling.selection import PixelSelection


@dataclass(frozen=True, slots=True)
class PreviewRequest:
    """What to show of one slide. The options are those of `wsisr preview`, under the same names.

    Raises `OptionError` for options that no slide can fulfil.
    """

    slide: AnyPath
    _: KW_ONLY
    region: Sequence[int] | None = None
    """X, y, width and height in px of level 0; all of the scanned area by default, if that is no larger than a preview
    may be."""
    scale: int | None = None
    """2 or 4; by default what fits the pixel size."""
    series: int | None = None
    """Number of the image, where a file holds several."""
    level: int | None = None
    """Level to enlarge; 0, the finest, by default."""
    source_mpp: float | None = None
    """Pixel size to enlarge from, in um/px: a finer level is shrunk to it, and the truth stands beside the result."""
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
        _ = self.selection

    @property
    def slide_path(self) -> Path:
        return Path(self.slide)

    @property
    def selection(self) -> PixelSelection:
        return PixelSelection(self.scale, self.level, self.source_mpp, region=self.region)


@dataclass(frozen=True, slots=True)
class PreviewPlan:
    """A region and what enlarges it."""

    region: SlideRegion
    upscaler: Upscaler
    warnings: tuple[str, ...]
    """What the viewer of the picture must know before it is drawn; the upscaler's own come after."""


def plan_preview(request: PreviewRequest, slide: Slide, models: ModelLoader) -> PreviewPlan:
    """Choose the pixels and load the model. Raises `WsisrError` if the slide has no such pixels, or is a result."""
    if not request.allow_derived:
        refuse_derived(request.slide_path)
    derived = [DERIVED_WARNING] if request.allow_derived and read_derived_metadata(request.slide_path) else []
    region = request.selection.select_region(slide)
    name = None if request.model is None else str(request.model)
    upscaler = models.load_upscaler(
        request.model,
        scale=request.scale or choose_default_scale(region.mpp, name),
        device=request.device,
        mpp=region.mpp,
        perception=request.perception,
    )
    upscaler = add_corrections(upscaler, guard=request.guard, consistency=request.consistency)
    unknown = training_range_warning(upscaler, region.mpp)
    return PreviewPlan(region, upscaler, (*derived, *region.warnings, *([unknown] if unknown else [])))
