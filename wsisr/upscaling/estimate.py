"""What an upscaling will take, measured on a few samples of the slide before it starts.

On a CPU the processor's time is measured and divided by the cores, which is what the run takes on an idle machine: time
on the clock would be that of whatever else the machine does in these moments. On a GPU it is time on the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from wsisr.imaging.bicubic import enlarge_bicubic
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.models.upscaler import Upscaler, UpscalerInfo
from wsisr.parallel.cpu import count_usable_cores
from wsisr.upscaling.plan import UpscalePlan

if TYPE_CHECKING:
    from wsisr.upscaling.trust.estimate import TrustEstimate

SAMPLE_COUNT = 4

TILES_PER_SAMPLE = 8
"""Stored tiles for each sample that is read and encoded, up to `SAMPLE_COUNT` of them: a small slide has one."""

SAMPLED_SLIDES = 8
"""Small slides of a kind, of fewer than `TILES_PER_SAMPLE` stored tiles, of which a sample is encoded. After that, as
long as these are more than `SAMPLED_SHARE` of the pixels of all, their mean stands for a slide: else samples would be
most of what a dry run of many costs."""

FIXED_S = 0.03
"""Processor time of any run, however small, for files, folders and threads (`tests.bench cohort`)."""

SAMPLED_SHARE = 1 / 50
"""Share of the pixels to come that goes through the network for the estimate, and of many slides' that is encoded."""

LEAST_SAMPLE_PX, LARGEST_SAMPLE_PX = 64, 512
"""Side of a sample for the network, in input px; those for reading and encoding are a stored tile."""

PYRAMID_RATIO = 4 / 3
"""Pixels of a whole pyramid per pixel of its level 0."""

STORING_RATIO = 6
"""Processor time of all that follows the network (quality, encoding, levels, digest, check), in that of encoding."""


@dataclass(frozen=True, slots=True)
class RunEstimate:
    """What a run is expected to take, from samples on the slide's diagonal."""

    seconds: float
    """Time of the whole run on an idle machine, but for loading the network."""
    output_bytes: int
    disk_bytes: int
    """Needed while the run goes on: encoded tiles and the file assembled from them, or the trust layer after them."""
    trust: TrustEstimate | None = None
    """The part of it that is for a trust layer; None where none is written."""

    def add_trust(self, trust: TrustEstimate) -> RunEstimate:
        """Return the estimate of a run that writes a trust layer, too."""
        return replace(
            self, seconds=self.seconds + trust.seconds, disk_bytes=self.disk_bytes + trust.layer_bytes, trust=trust
        )


@dataclass(frozen=True, slots=True)
class _Sample:
    """One sample: what it took, in seconds an input pixel, and what it is stored in."""

    read_s: float
    encode_s: float
    output_bytes: float
    """Bytes an output pixel."""


@dataclass(slots=True)
class _SlideKind:
    """The small slides of one reader, vendor and codec that were planned, and what was measured on them."""

    planned_px: int = 0
    sampled_px: int = 0
    samples: list[_Sample] = field(default_factory=list)

    @property
    def is_known(self) -> bool:
        return len(self.samples) >= SAMPLED_SLIDES and self.sampled_px >= SAMPLED_SHARE * self.planned_px


_network_paces: dict[UpscalerInfo, float] = {}
"""Seconds an input pixel of each upscaler that was measured: the slides of a batch measure it once."""

_small_slides: dict[tuple[object, ...], _SlideKind] = {}


def estimate_run(plan: UpscalePlan, planning_s: float = 0.0) -> RunEstimate:
    """Enlarge a few samples and time them; `planning_s` is what the run will take before its first tile."""
    network_pace = _measure_network_pace(plan)
    samples = _find_samples(plan)
    read_s, encode_s, bytes_per_pixel = (
        float(np.mean([getattr(sample, name) for sample in samples])) for name in ("read_s", "encode_s", "output_bytes")
    )
    pixels = plan.region.size.pixel_count
    network_s = network_pace * plan.network_pixel_count
    other_s = (read_s * plan.grid.input_pixel_count + encode_s * STORING_RATIO * pixels) / count_usable_cores()
    on_gpu = plan.upscaler.info.on_gpu
    seconds = max(network_s, other_s) if on_gpu else network_s + other_s
    output_bytes = round(bytes_per_pixel * plan.output.size.pixel_count * PYRAMID_RATIO)
    return RunEstimate(planning_s + FIXED_S + seconds, output_bytes, 2 * output_bytes)


def _measure_network_pace(plan: UpscalePlan) -> float:
    """Return the seconds that an input pixel takes in the network; the first call is not counted, but warms it up."""
    upscaler = plan.upscaler
    if upscaler.info not in _network_paces:
        side = round((plan.network_pixel_count * SAMPLED_SHARE / SAMPLE_COUNT) ** 0.5)
        boxes = _sample_boxes(plan, min(max(side, LEAST_SAMPLE_PX), LARGEST_SAMPLE_PX))
        pixels = [plan.region.read(box)[None] for box in boxes]
        upscaler(pixels[0])
        seconds = [_measure(partial(upscaler, image), upscaler) / image[0, ..., 0].size for image in pixels]
        _network_paces[upscaler.info] = float(np.median(seconds))
    return _network_paces[upscaler.info]


def _measure(work: Callable[[], object], upscaler: Upscaler) -> float:
    """Return the seconds that work takes on an idle machine, where it uses all cores or the GPU."""
    clock = time.perf_counter if upscaler.info.on_gpu else time.process_time
    began = clock()
    work()
    return (clock() - began) / (1 if upscaler.info.on_gpu else count_usable_cores())


def _find_samples(plan: UpscalePlan) -> list[_Sample]:
    """Measure samples of a slide; of a small one like many before it return what was measured on those."""
    boxes, pixels = _list_stored_boxes(plan), plan.region.size.pixel_count
    if pixels >= TILES_PER_SAMPLE * _find_stored_side(plan) ** 2:
        return [_measure_sample(plan, box) for box in boxes]
    info, codec = plan.region.slide.info, plan.output.codec
    kind = _small_slides.setdefault((info.reader, info.vendor, codec.description, plan.scale), _SlideKind())
    kind.planned_px += pixels
    if not kind.is_known:
        kind.samples += [_measure_sample(plan, box) for box in boxes]
        kind.sampled_px += sum(box.size.pixel_count for box in boxes)
    return kind.samples


def _measure_sample(plan: UpscalePlan, box: Box) -> _Sample:
    """Read and encode a sample; bicubic stands for the network, and is stored in nearly as many bytes."""
    began = time.thread_time()
    pixels = plan.region.read(box)
    read_s = time.thread_time() - began
    enlarged = enlarge_bicubic(pixels, plan.scale) if plan.scale > 1 else pixels
    began = time.thread_time()
    bytes_per_pixel = _measure_bytes_per_pixel(enlarged, plan)
    encode_s = time.thread_time() - began
    side = min(plan.output.tile_px, *enlarged.shape[:2])
    return _Sample(read_s / box.size.pixel_count, encode_s / side**2 * plan.scale**2, bytes_per_pixel)


def _list_stored_boxes(plan: UpscalePlan) -> list[Box]:
    """Return boxes of a stored tile, in input px: a share of the slide, so that a plan of many small ones is quick."""
    side = _find_stored_side(plan)
    count = plan.region.size.pixel_count // (TILES_PER_SAMPLE * side**2)
    return _sample_boxes(plan, side, min(max(count, 1), SAMPLE_COUNT))


def _find_stored_side(plan: UpscalePlan) -> int:
    """Return the side, in input px, of what fills a stored tile."""
    return -(-plan.output.tile_px // plan.scale)


def _sample_boxes(plan: UpscalePlan, side: int, count: int = SAMPLE_COUNT) -> list[Box]:
    """Return boxes in input px, evenly spaced on the diagonal."""
    size = plan.region.size
    width, height = min(side, size.width), min(side, size.height)
    shares = np.linspace(0.2, 0.8, count) if count > 1 else [0.5]
    corners = [(round(share * (size.width - width)), round(share * (size.height - height))) for share in shares]
    return [Box(left, top, left + width, top + height) for left, top in corners]


def _measure_bytes_per_pixel(pixels: Rgb, plan: UpscalePlan) -> float:
    side = min(plan.output.tile_px, *pixels.shape[:2])
    return len(plan.output.codec.encode(pixels[:side, :side], plan.output.tile_px)) / float(side**2)
