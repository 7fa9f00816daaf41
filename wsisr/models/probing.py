"""Measure the scale, the value range and the receptive field of a network without metadata, by running it.

The results hold for the probe images. The receptive field is measured twice: by the changes that distant pixels cause,
and by the changes that cropping them causes, as tiling does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from wsisr.errors import ModelError

NetworkPlanes: TypeAlias = npt.NDArray[np.float32]
"""(n, 3, h, w) in the value range of the network."""

NetworkFunction: TypeAlias = Callable[[NetworkPlanes], NetworkPlanes]

VALUE_RANGES = ((0.0, 1.0), (0.0, 255.0))
"""Values of black and of white that networks expect."""

ERROR_TOLERANCE = 2.0
"""The first range is taken whose consistency error is at most so many times the smallest, or at most one grey level."""

MAX_CONSISTENCY_ERROR = 24.0
"""Mean grey levels between a smooth picture and the area mean of its enlargement that are accepted."""

VISIBLE_CHANGE = 0.05
"""Change of the output in grey levels from which a pixel of the input counts as inside the receptive field."""

MAX_CROP_CHANGE = 0.5
"""Grey levels by which cropping pixels outside the receptive field may change the output."""

PROBE_WIDTHS = (192, 512, 1280)
"""Widths in px of the images that measure the receptive field; the next one is tried if it fills the one before."""

PROBE_HEIGHT = 48
MAX_SCALE = 8


@dataclass(frozen=True, slots=True)
class ProbedModel:
    """The measured properties of a network."""

    scale: int
    value_range: tuple[float, float]
    """Values of black and of white."""
    receptive_field: int
    """Input pixels around a pixel that its output depends on."""

    def describe(self, name: str) -> str:
        """Return a warning for the reader of the network's results."""
        black, white = self.value_range
        return (
            f"{name} has no metadata; measured: input range {black:g} to {white:g}, receptive field "
            f"{self.receptive_field} px"
        )


def probe_model(name: str, network: NetworkFunction) -> ProbedModel:
    """Measure a network. Raises `ModelError` if it does not enlarge pictures or its receptive field is too large."""
    picture = _make_smooth_picture(61, 67)
    scale = _measure_scale(name, picture, network(picture))
    value_range = _find_value_range(name, network, scale)

    def run(pixels: NetworkPlanes) -> NetworkPlanes:
        return _run_in_unit_range(network, pixels, value_range)

    def run_transposed(pixels: NetworkPlanes) -> NetworkPlanes:
        return run(pixels.swapaxes(2, 3)).swapaxes(2, 3)

    receptive_field = max(_measure_receptive_field(name, function, scale) for function in (run, run_transposed))
    for function in (run, run_transposed):
        _check_cropping(name, function, scale, receptive_field)
    return ProbedModel(scale, value_range, receptive_field)


def _measure_scale(name: str, low: NetworkPlanes, high: NetworkPlanes) -> int:
    height, width = low.shape[2:]
    scale = high.shape[2] // height if high.ndim == 4 else 0
    if not 1 <= scale <= MAX_SCALE or high.shape != (1, 3, height * scale, width * scale):
        raise ModelError(
            f"{name}: turns {low.shape} into {high.shape}, which is no enlarged picture; choose another file"
        )
    return scale


def _find_value_range(name: str, network: NetworkFunction, scale: int) -> tuple[float, float]:
    errors = {values: _measure_consistency_error(network, values, scale) for values in VALUE_RANGES}
    smallest = min(errors.values())
    best = next(values for values in VALUE_RANGES if errors[values] <= max(1.0, ERROR_TOLERANCE * smallest))
    if not errors[best] <= MAX_CONSISTENCY_ERROR:
        raise ModelError(
            f"{name}: its consistency error is {errors[best]:.0f} grey levels, whether values are 0 to 1 or 0 to 255; "
            "choose another file"
        )
    return best


def _measure_consistency_error(network: NetworkFunction, value_range: tuple[float, float], scale: int) -> float:
    """Return the mean grey levels between a smooth picture and the area mean of its enlargement."""
    low = _make_smooth_picture(64, 64)
    high = _run_in_unit_range(network, low, value_range)
    with np.errstate(over="ignore", invalid="ignore"):  # a network may give any number
        area_mean = high.reshape(1, 3, 64, scale, 64, scale).mean(axis=(3, 5))
        error = np.abs(area_mean - low).mean()
    return float(255 * error) if np.isfinite(error) else np.inf


def _measure_receptive_field(name: str, run: NetworkFunction, scale: int) -> int:
    """Return the pixels to the right of a line in which the output changes if everything left of the line does."""
    for width in PROBE_WIDTHS:
        half, image = width // 2, _make_noise(width, 0)
        is_changed = np.zeros(width, bool)
        for left_half in (np.float32(0), np.float32(1), _make_noise(half, 1)):
            other = image.copy()
            other[..., :half] = left_half
            change = 255 * np.abs(run(image) - run(other)).max(axis=(0, 1, 2))
            is_changed |= change.reshape(width, scale).max(axis=1) > VISIBLE_CHANGE
        distance = int(np.flatnonzero(is_changed).max(initial=half - 1)) - half + 1
        if distance < half * 3 // 4:
            return distance
    raise ModelError(
        f"{name}: its receptive field is {PROBE_WIDTHS[-1] * 3 // 8} px or more, by pooling or attention over the "
        "whole image, so results would depend on the tiles; choose a network with a small receptive field"
    )


def _check_cropping(name: str, run: NetworkFunction, scale: int, receptive_field: int) -> None:
    """Raise `ModelError` if the output for a crop differs from the same place in the output for the larger image."""
    image = _make_noise(2 * receptive_field + 40, 2)
    from_crop, cropped = run(image[..., 8:-11]), run(image)[..., 8 * scale : -11 * scale]
    border = receptive_field * scale
    change = 255 * float(np.abs(from_crop - cropped)[..., border : -border or None].max())
    if not change <= MAX_CROP_CHANGE:
        raise ModelError(
            f"{name}: cropping the image changes a pixel {receptive_field} px away by {change:.1f} grey levels, so "
            "results would depend on the tiles; choose another network"
        )


def _run_in_unit_range(
    network: NetworkFunction, pixels: NetworkPlanes, value_range: tuple[float, float]
) -> NetworkPlanes:
    """Enlarge (n, 3, h, w) to (n, 3, h*scale, w*scale), both in [0, 1]."""
    black, white = value_range
    return (network(pixels * np.float32(white - black) + np.float32(black)) - np.float32(black)) / np.float32(
        white - black
    )


def _make_smooth_picture(height: int, width: int) -> NetworkPlanes:
    """Return (1, 3, height, width) of slow waves within [0, 1], another for each channel."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    waves = [np.sin(rows / (5 + channel)) * np.cos(columns / (7 - channel)) for channel in range(3)]
    planes: NetworkPlanes = (0.5 + 0.4 * np.stack(waves)[None]).astype(np.float32)
    return planes


def _make_noise(width: int, seed: int) -> NetworkPlanes:
    return np.random.default_rng(seed).random((1, 3, PROBE_HEIGHT, width), np.float32)
