"""The main job as one call. `wsisr upscale` makes the same calls, so both give the same files and the same reports."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from contextlib import closing
from functools import update_wrapper
from inspect import signature
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from wsisr.imaging.pixels import Rgb
from wsisr.models import loading
from wsisr.slides import open_slide
from wsisr.upscaling.array import ArrayRequest, enlarge_array
from wsisr.upscaling.job import Finished, JobEvent, run_job
from wsisr.upscaling.preview_request import PreviewRequest, plan_preview
from wsisr.upscaling.report import UpscaleReport
from wsisr.upscaling.request import UpscaleRequest

if TYPE_CHECKING:
    from PIL import Image

P = ParamSpec("P")
R = TypeVar("R")
Q = TypeVar("Q")


class UpscaleWarning(UserWarning):
    """Something about a result that its reader must know, where there is no report to hold it."""


def take_options_of(
    make_request: Callable[P, Q],
) -> Callable[[Callable[[Q], R]], Callable[P, R]]:
    """Give a function of a request the parameters of that request, so that they are declared once."""

    def decorate(function: Callable[[Q], R]) -> Callable[P, R]:
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return function(make_request(*args, **kwargs))

        update_wrapper(call, function)
        returned = signature(function).return_annotation
        call.__signature__ = signature(make_request).replace(return_annotation=returned)  # type: ignore[attr-defined]
        return call

    return decorate


@take_options_of(UpscaleRequest)
def iterate_upscale(request: UpscaleRequest) -> Generator[JobEvent, None, None]:
    """Enlarge a slide and yield what happens: `Warned`, `Started`, `Advanced`, and at last `Finished` with the report.

    Takes a slide and the options of `wsisr upscale`, all of which `UpscaleRequest` documents. Nothing happens until
    the events are consumed. Leaving early, by `close()` or an error, keeps what is finished, and the same call resumes
    from there. Raises `WsisrError`, with what is wrong in one line.
    """
    return run_job(request, loading)


@take_options_of(UpscaleRequest)
def upscale_slide(request: UpscaleRequest) -> UpscaleReport:
    """Enlarge a slide and return the report: the output's path, the time it took, quality figures and warnings.

    Takes a slide and the options of `wsisr upscale`, all of which `UpscaleRequest` documents. Prints nothing. An
    output that is finished already, of the same slide and options, is left alone. Raises `WsisrError`, with what is
    wrong in one line.
    """
    with closing(run_job(request, loading)) as events:
        return next(event.report for event in events if isinstance(event, Finished))


@take_options_of(ArrayRequest)
def enlarge(request: ArrayRequest) -> Rgb:
    """Enlarge an array, (h, w, 3) uint8 sRGB to (h*scale, w*scale, 3), as `upscale_slide` would enlarge a slide of it.

    `mpp` is the pixel size of the array in um/px and must be given; `ArrayRequest` documents all options. What the
    reader of the result must know is a Python warning, an `UpscaleWarning`. Raises `WsisrError`, with what is wrong in
    one line.
    """
    steps = enlarge_array(request, loading)
    while True:
        try:
            warned = next(steps)
        except StopIteration as finished:
            result: Rgb = finished.value
            return result
        _warn(warned.text)


@take_options_of(PreviewRequest)
def preview_slide(request: PreviewRequest) -> Image.Image:
    """Draw regions of a slide as scanned, by bicubic and by a model, with the truth beside it where the slide has it.

    Takes a slide and the options of `wsisr preview`, all of which `PreviewRequest` documents. The picture is the one
    that the command writes; a notebook shows it, and `picture.save("look.png")` keeps it. What its viewer must know is
    a Python warning, an `UpscaleWarning`. Raises `WsisrError`, with what is wrong in one line.
    """
    with open_slide(request.slide_path, request.mpp, estimate=True, series=request.series) as slide:
        plan = plan_preview(request, slide, loading)
        picture = plan.draw()
    for text in (*plan.warnings, *plan.upscaler.warnings):
        _warn(text)
    return picture


def _warn(text: str) -> None:
    """Warn at the line that called the public function, from which the decorator's `call` and this are two steps."""
    warnings.warn(text, UpscaleWarning, stacklevel=4)
