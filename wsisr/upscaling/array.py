"""An array of pixels, enlarged as the main job enlarges a slide, into another array: nothing is encoded or stored."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import KW_ONLY, dataclass, replace

import numpy as np

from wsisr.errors import OptionError
from wsisr.imaging.pixels import Rgb
from wsisr.models.spec import SCALES
from wsisr.slides.pixel_size import COARSEST_MPP, FINEST_MPP, is_plausible_mpp
from wsisr.slides.readers.array import ARRAY_PATH, open_array
from wsisr.upscaling.engine import enlarge_blocks
from wsisr.upscaling.job import ModelLoader, Warned, describe_plan, plan_request
from wsisr.upscaling.memory import DEFAULT_MEMORY_GB
from wsisr.upscaling.plan import UpscalePlan
from wsisr.upscaling.request import AnyPath, UpscaleRequest


@dataclass(frozen=True, slots=True, eq=False)
class ArrayRequest:
    """What to do with an array. All but `pixels` and `mpp` are options of `UpscaleRequest`, with the same defaults.

    Raises `OptionError` for pixels that are not (h, w, 3) uint8, and for options that nothing can fulfil.
    """

    pixels: Rgb
    """(h, w, 3) uint8 sRGB; it must not change meanwhile."""
    _: KW_ONLY
    mpp: float | None = None
    """Pixel size of the array in um/px; it must be given, for it decides on the model."""
    scale: int = 2
    """Output pixels per input pixel along one axis: 2 or 4."""
    model: AnyPath | None = None
    """Shipped model, weights file, `bicubic` or `lanczos`; the shipped model that fits by default."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:NUMBER`; for ONNX files also `tensorrt`."""
    precision: str = "auto"
    """`auto`, `bf16`, `fp16` or `fp32`."""
    perception: float = 0.0
    """0 for least error, up to 1 for crisp, by the model's GAN variant."""
    consistency: bool = False
    """Correct the result until its area mean is the input, noise and compression included."""
    guard: bool = True
    """Show bicubic where the network contradicts what the input shows."""
    tissue: AnyPath = "auto"
    """What the network is for: `auto` finds tissue, `none` takes all; or a mask or GeoJSON file."""
    background: str = "keep"
    """Where there is no tissue: `keep` what was scanned, or `white`."""
    tile_px: int | None = None
    """Input px that a tile completes, along one axis; what memory allows by default."""
    overlap_px: int | None = None
    """Input px by which tiles overlap; what leaves no seam by default."""
    batch: int = 1
    """Tiles that go through the network together."""
    memory: float = DEFAULT_MEMORY_GB
    """GB that all but the network, the array and the result may hold; tiles get smaller to fit."""

    def __post_init__(self) -> None:
        _check_pixels(self.pixels)
        if self.mpp is None:
            raise OptionError(f"{ARRAY_PATH}: give its pixel size in um/px, for example mpp=0.5; a model is for one")
        if not is_plausible_mpp(self.mpp):
            limits = f"{FINEST_MPP:g} to {COARSEST_MPP:g} um/px"
            raise OptionError(f"{ARRAY_PATH}: no slide has pixels of {self.mpp:g} um; give mpp from {limits}")
        if self.scale not in SCALES:
            raise OptionError(f"{ARRAY_PATH}: give scale=2 or scale=4, not {self.scale}")

    @property
    def slide_request(self) -> UpscaleRequest:
        """The same options for a slide."""
        return UpscaleRequest(
            ARRAY_PATH,
            scale=self.scale,
            model=self.model,
            device=self.device,
            precision=self.precision,
            perception=self.perception,
            consistency=self.consistency,
            guard=self.guard,
            tissue=self.tissue,
            background=self.background,
            tile_px=self.tile_px,
            overlap_px=self.overlap_px,
            batch=self.batch,
            memory=self.memory,
        )


def enlarge_array(request: ArrayRequest, models: ModelLoader) -> Generator[Warned, None, Rgb]:
    """Enlarge an array, yield the warnings, and return (h*scale, w*scale, 3) sRGB.

    The pixels are those that the main job would encode for a slide that holds the array. Raises `WsisrError`.
    Memory: the result, and what `memory` allows.
    """
    assert request.mpp is not None
    slide_request = request.slide_request
    with open_array(request.pixels, request.mpp) as slide:
        plan = replace(plan_request(slide_request, slide, models), quality=None)
        yield from (event for event in describe_plan(slide_request, plan) if isinstance(event, Warned))
        result = _collect_blocks(plan)
    yield from map(Warned, plan.upscaler.warnings)
    return result


def _collect_blocks(plan: UpscalePlan) -> Rgb:
    result = np.empty((plan.output.size.height, plan.output.size.width, 3), np.uint8)
    with closing(enlarge_blocks(plan)) as blocks:  # type: ignore[type-var]
        for box, block in blocks:
            result[box.rows, box.columns] = block
    return result


def _check_pixels(pixels: object) -> None:
    """Raise `OptionError`, with what to give instead, unless the pixels are (h, w, 3) uint8."""
    if not isinstance(pixels, np.ndarray):
        raise OptionError(f"{ARRAY_PATH}: is a {type(pixels).__name__}; give numpy.asarray(image) of an RGB image")
    if pixels.dtype != np.uint8:
        raise OptionError(
            f"{ARRAY_PATH}: holds {pixels.dtype}; give uint8 from 0 to 255, sRGB as it is shown on a screen"
        )
    if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise OptionError(f"{ARRAY_PATH}: has the shape {pixels.shape}{_advise_on_shape(pixels.shape)}")


def _advise_on_shape(shape: tuple[int, ...]) -> str:
    """Return what to do about a shape that is not (h, w, 3)."""
    if 0 in shape:
        return " without any pixel; give (height, width, 3)"
    if len(shape) == 2:
        return ", one grey value a pixel; networks need colour, (height, width, 3)"
    if len(shape) == 3 and shape[2] == 4:
        return ", with transparency; leave it out: pixels[..., :3]"
    if len(shape) == 3 and shape[0] == 3:
        return ", channels first; give pixels.transpose(1, 2, 0)"
    if len(shape) == 4:
        return ", several images; give one at a time, (height, width, 3)"
    return "; give (height, width, 3)"
