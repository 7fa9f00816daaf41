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

Planes: TypeAlias = npt.NDArray[np.float32]
"""(n, 3, h, w) in the values of the network."""

Network: TypeAlias = Callable[[Planes], Planes]

SPANS = ((0.0, 1.0), (0.0, 255.0))
"""Values of black and of white that networks are made for; the first unless the other shows the picture far better."""

FAR_BETTER = 2.0
"""How many times smaller a residual is, when it is a grey level at least."""

LARGEST_RESIDUAL = 24.0
"""Mean grey levels by which a result, averaged back, may miss a smooth picture."""

SEEN = 0.05
"""Grey levels of change that count as seen."""

CUT_OFF = 0.5
"""Grey levels that cutting off what is not seen may change."""

WIDTHS = (192, 512, 1280)
"""Of the images on which it is tried how far a network sees, px; the next where it sees across the one before."""

HEIGHT = 48
LARGEST_SCALE = 8


@dataclass(frozen=True, slots=True)
class Nature:
    """What a network turned out to be."""

    scale: int
    span: tuple[float, float]
    """Values of black and of white."""
    context: int
    """Px around a pixel on which its output depends."""

    def said(self, name: str) -> str:
        """For the reader of its results."""
        black, white = self.span
        return (
            f"{name} tells nothing of itself: tried out, it takes black for {black:g} and white for {white:g} and sees "
            f"{self.context} px around a pixel"
        )


def probed(name: str, network: Network) -> Nature:
    """Tries a network out. Raises `ModelError`, naming it, where it enlarges no pictures or sees too far."""
    picture = _picture(61, 67)
    scale = _scale(name, picture, network(picture))
    span = _span(name, network, scale)

    def across(pixels: Planes) -> Planes:
        return _through(network, pixels, span)

    def along(pixels: Planes) -> Planes:
        return across(pixels.swapaxes(2, 3)).swapaxes(2, 3)

    context = max(_reach(name, see, scale) for see in (across, along))
    for see in (across, along):
        _check_cut(name, see, scale, context)
    return Nature(scale, span, context)


def _scale(name: str, low: Planes, high: Planes) -> int:
    height, width = low.shape[2:]
    scale = high.shape[2] // height if high.ndim == 4 else 0
    if not 1 <= scale <= LARGEST_SCALE or high.shape != (1, 3, height * scale, width * scale):
        raise ModelError(
            f"{name}: gives {high.shape} of {low.shape}, which is no enlarged picture; choose another file"
        )
    return scale


def _span(name: str, network: Network, scale: int) -> tuple[float, float]:
    residuals = {span: _residual(network, span, scale) for span in SPANS}
    least = min(residuals.values())
    best = next(span for span in SPANS if residuals[span] <= max(1.0, FAR_BETTER * least))
    if not residuals[best] <= LARGEST_RESIDUAL:
        raise ModelError(
            f"{name}: averaged back, its result is {residuals[best]:.0f} grey levels from what it was given, whether "
            "values are 0 to 1 or 0 to 255; choose another file"
        )
    return best


def _residual(network: Network, span: tuple[float, float], scale: int) -> float:
    """Mean grey levels between a smooth picture and its enlargement, averaged back."""
    low = _picture(64, 64)
    high = _through(network, low, span)
    back = high.reshape(1, 3, 64, scale, 64, scale).mean(axis=(3, 5))
    residual = np.abs(back - low).mean()
    return float(255 * residual) if np.isfinite(residual) else np.inf


def _reach(name: str, see: Network, scale: int) -> int:
    """Px over which a change of all that lies left of a line shows."""
    for width in WIDTHS:
        half, one = width // 2, _noise(width, 0)
        changed = np.zeros(width, bool)
        for far in (np.float32(0), np.float32(1), _noise(half, 1)):
            other = one.copy()
            other[..., :half] = far
            apart = 255 * np.abs(see(one) - see(other)).max(axis=(0, 1, 2))
            changed |= apart.reshape(width, scale).max(axis=1) > SEEN
        reach = int(np.flatnonzero(changed).max(initial=half - 1)) - half + 1
        if reach < half * 3 // 4:
            return reach
    raise ModelError(
        f"{name}: sees {WIDTHS[-1] * 3 // 8} px far or farther, by pooling or attention over all of an image; its "
        "result would depend on the tiles; choose a network that looks around a pixel only"
    )


def _check_cut(name: str, see: Network, scale: int, context: int) -> None:
    """Raises `ModelError` where a window shows something else than the same place of a larger image."""
    whole = _noise(2 * context + 40, 2)
    inner, outer = see(whole[..., 8:-11]), see(whole)[..., 8 * scale : -11 * scale]
    apart = 255 * float(np.abs(inner - outer)[..., context * scale : -context * scale or None].max())
    if not apart <= CUT_OFF:
        raise ModelError(
            f"{name}: shows a pixel {apart:.1f} grey levels otherwise in a smaller image, though what is cut off is "
            f"{context} px away; its result would depend on the tiles; choose another network"
        )


def _through(network: Network, pixels: Planes, span: tuple[float, float]) -> Planes:
    """(n, 3, h, w) to (n, 3, h*scale, w*scale), both in [0, 1]."""
    black, white = span
    return (network(pixels * np.float32(white - black) + np.float32(black)) - np.float32(black)) / np.float32(
        white - black
    )


def _picture(height: int, width: int) -> Planes:
    """Smooth, of three colours, within [0, 1]."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    waves = [np.sin(rows / (5 + colour)) * np.cos(columns / (7 - colour)) for colour in range(3)]
    planes: Planes = (0.5 + 0.4 * np.stack(waves)[None]).astype(np.float32)
    return planes


def _noise(width: int, seed: int) -> Planes:
    return np.random.default_rng(seed).random((1, 3, HEIGHT, width), np.float32)
