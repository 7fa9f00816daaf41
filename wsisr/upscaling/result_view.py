"""A finished result beside its slide: the same places of both, for people who look at what a run did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from wsisr.errors import SlideError
from wsisr.imaging.bicubic import enlarge_bicubic
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import CUBIC_RADIUS, Rgb, average_blocks
from wsisr.slides import FaultTolerantSlide, Slide, SrgbSlide, open_slide
from wsisr.slides.region import SlideRegion
from wsisr.slides.wrappers.fault_tolerant import BLACK
from wsisr.upscaling.preview import reference_region
from wsisr.upscaling.request import UpscaleRequest


@dataclass(frozen=True, slots=True)
class ResultView:
    """A result, the region of the slide that it was made of, and the scale between the two.

    Boxes are in px of the region, whichever of the two is read.
    """

    region: SlideRegion
    result: Slide
    scale: int
    scan: Slide
    """The slide in its own colours, in which tissue is looked for; parts that cannot be decoded are black."""

    def read_input(self, box: Box) -> Rgb:
        """Read what was enlarged, as (h, w, 3)."""
        return self.region.read(box)

    def read_output(self, box: Box) -> Rgb:
        """Read the result, as (h*scale, w*scale, 3)."""
        return self.result.read(box * self.scale, 0)

    def read_bicubic(self, box: Box) -> Rgb:
        """Return the input, enlarged by bicubic as (h*scale, w*scale, 3)."""
        around = box.expand(CUBIC_RADIUS).intersection(self.region.readable_box)
        core = box.relative_to(around) * self.scale
        return enlarge_bicubic(self.region.read(around), self.scale)[core.rows, core.columns]

    def read_shrunk_output(self, box: Box) -> Rgb:
        """Read the result, averaged back to the pixels of its input, as (h, w, 3).

        From level 0: a coarser level has lost as much again where the codec is lossy.
        """
        return average_blocks(self.read_output(box), self.scale)

    def read_truth(self, box: Box) -> Rgb | None:
        """Read what the slide itself shows at the pixel size of the result; None where no scan is that fine."""
        left, top = (self.region.crop.left, self.region.crop.top) if self.region.crop else (0, 0)
        part = SlideRegion(
            self.region.slide, self.region.level, self.region.resampling_factor, box.translate(left, top)
        )
        reference = reference_region(part, self.scale) if self.scale > 1 else None
        return reference.read(Box.from_size(reference.size)) if reference else None


@contextmanager
def open_result_view(request: UpscaleRequest) -> Iterator[ResultView]:
    """Context: the finished result of a request, open beside its slide.

    Raises `SlideError` if one of the two cannot be read, or they do not belong together.
    """
    with (
        open_slide(request.slide_path, request.mpp, estimate=True, series=request.series) as slide,
        open_slide(request.output_path) as result,
    ):
        readable: Slide = FaultTolerantSlide(slide) if request.on_error == "white" else slide
        plan = request.selection.plan_scale(SrgbSlide(readable) if request.icc == "srgb" else readable)
        if plan.region.size * plan.scale != result.info.size:
            raise SlideError(f"{request.output_path}: is not of the size that {request.slide_path} gives")
        scan: Slide = FaultTolerantSlide(slide, BLACK) if request.on_error == "white" else slide
        yield ResultView(plan.region, result, plan.scale, scan)
