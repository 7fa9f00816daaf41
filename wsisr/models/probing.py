"""A network that nobody described: its scale, its values and how far it sees, found by trying.

What is found holds for the images it was tried on. How far it sees is measured twice: by what changes when far pixels
change, and by what changes when they are cut off, as a tile cuts them off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from wsisr.errors import ModelError

NetworkPlanes: TypeAlias = npt.NDArray[np.float32]
"""(n, 3, h, w) in the values of the network."""

NetworkFunction: TypeAlias = Callable[[NetworkPlanes], NetworkPlanes]

VALUE_RANGES = ((0.0, 1.0), (0.0, 255.0))
"""Values of black and of white that networks are made for; the first unless the other shows the picture far better."""

MUCH_SMALLER = 2.0
"""How many times smaller a residual is, when it is a grey level at least."""

LARGEST_CONSISTENCY_ERROR = 24.0
"""Mean grey levels by which a result, averaged back, may miss a smooth picture."""

VISIBLE_CHANGE = 0.05
"""Grey levels of change that count as seen."""

LARGEST_CROP_CHANGE = 0.5
"""Grey levels that cutting off what is not seen may change."""

WIDTHS = (192, 512, 1280)
"""Of the images on which it is tried how far a network sees, px; the next where it sees across the one before."""

HEIGHT = 48
LARGEST_SCALE = 8


@dataclass(frozen=True, slots=True)
class ProbedModel:
    """What a network turned out to be."""

    scale: int
    value_range: tuple[float, float]
    """Values of black and of white."""
    receptive_field: int
    """Px around a pixel on which its output depends."""

    def describe(self, name: str) -> str:
        """For the reader of its results."""
        black, white = self.value_range
        return (
            f"{name} tells nothing of itself: tried out, it takes black for {black:g} and white for {white:g} and sees "
            f"{self.receptive_field} px around a pixel"
        )


def probe_model(name: str, network: NetworkFunction) -> ProbedModel:
    """Tries a network out. Raises `ModelError`, naming it, where it enlarges no pictures or sees too far."""
    picture = _make_smooth_picture(61, 67)
    scale = _measure_scale(name, picture, network(picture))
    span = _find_value_range(name, network, scale)

    def across(pixels: NetworkPlanes) -> NetworkPlanes:
        return _run_in_unit_range(network, pixels, span)

    def along(pixels: NetworkPlanes) -> NetworkPlanes:
        return across(pixels.swapaxes(2, 3)).swapaxes(2, 3)

    context = max(_measure_receptive_field(name, see, scale) for see in (across, along))
    for see in (across, along):
        _check_cropping(name, see, scale, context)
    return ProbedModel(scale, span, context)


def _measure_scale(name: str, low: NetworkPlanes, high: NetworkPlanes) -> int:
    height, width = low.shape[2:]
    scale = high.shape[2] // height if high.ndim == 4 else 0
    if not 1 <= scale <= LARGEST_SCALE or high.shape != (1, 3, height * scale, width * scale):
        raise ModelError(
            f"{name}: gives {high.shape} of {low.shape}, which is no enlarged picture; choose another file"
        )
    return scale


def _find_value_range(name: str, network: NetworkFunction, scale: int) -> tuple[float, float]:
    residuals = {span: _measure_consistency_error(network, span, scale) for span in VALUE_RANGES}
    least = min(residuals.values())
    best = next(span for span in VALUE_RANGES if residuals[span] <= max(1.0, MUCH_SMALLER * least))
    if not residuals[best] <= LARGEST_CONSISTENCY_ERROR:
        raise ModelError(
            f"{name}: averaged back, its result is {residuals[best]:.0f} grey levels from what it was given, whether "
            "values are 0 to 1 or 0 to 255; choose another file"
        )
    return best


def _measure_consistency_error(network: NetworkFunction, span: tuple[float, float], scale: int) -> float:
    """Mean grey levels between a smooth picture and its enlargement, averaged back."""
    low = _make_smooth_picture(64, 64)
    high = _run_in_unit_range(network, low, span)
    back = high.reshape(1, 3, 64, scale, 64, scale).mean(axis=(3, 5))
    residual = np.abs(back - low).mean()
    return float(255 * residual) if np.isfinite(residual) else np.inf


def _measure_receptive_field(name: str, see: NetworkFunction, scale: int) -> int:
    """Px over which a change of all that lies left of a line shows."""
    for width in WIDTHS:
        half, one = width // 2, _make_noise(width, 0)
        changed = np.zeros(width, bool)
        for far in (np.float32(0), np.float32(1), _make_noise(half, 1)):
            other = one.copy()
            other[..., :half] = far
            apart = 255 * np.abs(see(one) - see(other)).max(axis=(0, 1, 2))
            changed |= apart.reshape(width, scale).max(axis=1) > VISIBLE_CHANGE
        reach = int(np.flatnonzero(changed).max(initial=half - 1)) - half + 1
        if reach < half * 3 // 4:
            return reach
    raise ModelError(
        f"{name}: sees {WIDTHS[-1] * 3 // 8} px far or farther, by pooling or attention over all of an image; its "
        "result would depend on the tiles; choose a network that looks around a pixel only"
    )


def _check_cropping(name: str, see: NetworkFunction, scale: int, context: int) -> None:
    """Raises `ModelError` where a window shows something else than the same place of a larger image."""
    whole = _make_noise(2 * context + 40, 2)
    inner, outer = see(whole[..., 8:-11]), see(whole)[..., 8 * scale : -11 * scale]
    apart = 255 * float(np.abs(inner - outer)[..., context * scale : -context * scale or None].max())
    if not apart <= LARGEST_CROP_CHANGE:
        raise ModelError(
            f"{name}: shows a pixel {apart:.1f} grey levels otherwise in a smaller image, though what is cut off is "
            f"{context} px away; its result would depend on the tiles; choose another network"
        )


def _run_in_unit_range(network: NetworkFunction, pixels: NetworkPlanes, span: tuple[float, float]) -> NetworkPlanes:
    """(n, 3, h, w) to (n, 3, h*scale, w*scale), both in [0, 1]."""
    black, white = span
    return (network(pixels * np.float32(white - black) + np.float32(black)) - np.float32(black)) / np.float32(
        white - black
    )


def _make_smooth_picture(height: int, width: int) -> NetworkPlanes:
    """Smooth, of three colours, within [0, 1]."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    waves = [np.sin(rows / (5 + colour)) * np.cos(columns / (7 - colour)) for colour in range(3)]
    planes: NetworkPlanes = (0.5 + 0.4 * np.stack(waves)[None]).astype(np.float32)
    return planes


def _make_noise(width: int, seed: int) -> NetworkPlanes:
    return np.random.default_rng(seed).random((1, 3, HEIGHT, width), np.float32)
