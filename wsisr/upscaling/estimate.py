"""What an upscaling will take, measured on a few samples of the slide before it starts."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.upscaling.plan import UpscalePlan

SAMPLE_PX = 192
"""Side of a sample, in input px."""

SAMPLE_COUNT = 4

PYRAMID_RATIO = 4 / 3
"""Pixels of a whole pyramid per pixel of its level 0."""


@dataclass(frozen=True, slots=True)
class RunEstimate:
    """What a run is expected to take, from samples on the slide's diagonal."""

    seconds: float
    """Time for reading and the network, overlap included."""
    output_bytes: int
    disk_bytes: int
    """Needed while the run goes on: encoded tiles and the file assembled from them."""


def estimate_run(plan: UpscalePlan) -> RunEstimate:
    """Enlarge a few samples and time them; the first is enlarged once more before, to warm up."""
    region, upscaler, grid = plan.region, plan.upscaler, plan.grid
    boxes = _sample_boxes(plan)
    upscaler(region.read(boxes[0])[None])
    began = time.perf_counter()
    outputs = [upscaler(region.read(box)[None]) for box in boxes]
    seconds = time.perf_counter() - began
    sample_pixels = sum(box.size.pixel_count for box in boxes)
    bytes_per_pixel = float(np.mean([_measure_bytes_per_pixel(output[0], plan) for output in outputs]))
    output_bytes = round(bytes_per_pixel * plan.output.size.pixel_count * PYRAMID_RATIO)
    seconds *= grid.input_pixel_count * plan.network_share / sample_pixels
    return RunEstimate(seconds, output_bytes, 2 * output_bytes)


def _sample_boxes(plan: UpscalePlan) -> list[Box]:
    """Return boxes in input px, evenly spaced on the diagonal."""
    size = plan.region.size
    width, height = min(SAMPLE_PX, size.width), min(SAMPLE_PX, size.height)
    shares = np.linspace(0.2, 0.8, SAMPLE_COUNT)
    corners = [(round(share * (size.width - width)), round(share * (size.height - height))) for share in shares]
    return [Box(left, top, left + width, top + height) for left, top in corners]


def _measure_bytes_per_pixel(pixels: Rgb, plan: UpscalePlan) -> float:
    side = min(plan.output.tile_px, *pixels.shape[:2])
    return len(plan.output.codec.encode(pixels[:side, :side], plan.output.tile_px)) / float(side**2)
