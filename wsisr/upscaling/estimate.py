"""What an upscaling will take, measured on a few pieces of the slide before it starts."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.models.upscaler import Upscaler
from wsisr.upscaling.plan import Plan

SAMPLE_PX = 192
"""Input px along one side of a sample."""

SAMPLES = 4

PYRAMID = 4 / 3
"""Pixels of a whole pyramid per pixel of its level 0."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expectations, from samples on the slide's diagonal."""

    seconds: float
    """Time of reading and network, overlap included."""
    output_bytes: int
    disk_bytes: int
    """Needed while the work is running: encoded tiles and the file assembled from them."""


def estimate(work: Plan, upscaler: Upscaler) -> Estimate:
    """Enlarges a few samples; the first warms up and is not timed."""
    boxes = list(_samples(work))
    outputs = [upscaler(work.source.read(boxes[0])[None])]
    began = time.perf_counter()
    outputs += [upscaler(work.source.read(box)[None]) for box in boxes]
    seconds = time.perf_counter() - began
    timed = sum(box.size.pixels for box in boxes)
    encoded = float(np.mean([_bytes_per_pixel(output[0], work) for output in outputs[1:]]))
    size = round(encoded * work.output.size.pixels * PYRAMID)
    return Estimate(seconds * work.grid.read_pixels * work.busy / timed, size, 2 * size)


def _samples(work: Plan) -> list[Box]:
    size = work.source.size
    width, height = min(SAMPLE_PX, size.width), min(SAMPLE_PX, size.height)
    places = np.linspace(0.2, 0.8, SAMPLES)
    corners = [(round(p * (size.width - width)), round(p * (size.height - height))) for p in places]
    return [Box(left, top, left + width, top + height) for left, top in corners]


def _bytes_per_pixel(pixels: Rgb, work: Plan) -> float:
    side = min(work.output.tile_px, *pixels.shape[:2])
    return len(work.output.codec.encode(pixels[:side, :side], work.output.tile_px)) / float(side**2)
