"""A guard for networks: where their output contradicts their input, bicubic with back-projection is shown instead.

On input unlike its training a network can drop pale structures, shift a colour or draw a pattern that is not there.
The input itself tells: averaged back to the input's pixels, an enlargement must show what the input shows. Only what is
wider than a few pixels is compared, so that noise and compression may be taken off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb, RgbBatch, shrink_image
from wsisr.models.back_projection import BackProjection
from wsisr.models.upscaler import Upscaler, UpscalerInfo

SMOOTHING_PX = 5
"""Side of the square over which differences are averaged before they count, in input px."""

WINDOW_PX = 9
"""Side of the square in which the power of differences and of the input's contrast is compared, in input px."""

CONTRAST_FLOOR = 2.0
"""Grey levels that are added to the input's contrast, as a square: a difference below it never counts as much."""

TOLERATED, REFUSED = 0.5, 0.8
"""Ratio of the difference to the contrast up to which a network's pixels are shown, and from which none of them is."""

GUARD_RADIUS = SMOOTHING_PX // 2 + WINDOW_PX // 2 + 1
"""Input px around a pixel on which the guard's decision depends; one for the enlargement of the shares."""

PixelMap: TypeAlias = npt.NDArray[np.float32]
"""(h, w): one number for each pixel."""


class GuardedUpscaler:
    """Another upscaler's pixels, blended with back-projected bicubic as far as they contradict the input.

    Several threads may call it.
    """

    def __init__(self, upscaler: Upscaler) -> None:
        self.upscaler = upscaler
        self._fallback = BackProjection(upscaler.info.scale)
        self._lock = Lock()
        self._warnings: list[str] = []

    @property
    def info(self) -> UpscalerInfo:
        """The wrapped upscaler's facts, with the receptive field of the guard."""
        info = self.upscaler.info
        radius = max(info.receptive_field, self._fallback.info.receptive_field) + GUARD_RADIUS
        return replace(info, receptive_field=radius, hardware=f"{info.hardware}, guarded")

    @property
    def warnings(self) -> Sequence[str]:
        return [*self.upscaler.warnings, *self._warnings]

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        """(n, h, w, 3) sRGB to (n, h*scale, w*scale, 3) sRGB."""
        enlarged = self.upscaler(tiles)
        return np.stack([self._guard_image(low, high) for low, high in zip(tiles, enlarged, strict=True)])

    def _guard_image(self, low: Rgb, high: Rgb) -> Rgb:
        refused = refused_share(measure_contradiction(low, high))
        rows, columns = (np.flatnonzero(refused.any(axis=axis)) for axis in (1, 0))
        if not rows.size:
            return high
        self._warn()
        scale = self.upscaler.info.scale
        image = Box(0, 0, low.shape[1], low.shape[0])
        # One pixel more, into which the enlarged shares reach.
        inner = Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1).expand(1).intersection(image)
        outer = inner.expand(self._fallback.info.receptive_field).intersection(image)
        fallback = self._fallback(low[None, outer.rows, outer.columns])[0]
        place, crop = inner * scale, inner.relative_to(outer) * scale
        share = _enlarge_map(refused, scale)[place.rows, place.columns, None]
        result = high.copy()
        own = high[place.rows, place.columns].astype(np.float32)
        result[place.rows, place.columns] = np.rint(own + share * (fallback[crop.rows, crop.columns] - own))
        return result

    def _warn(self) -> None:
        sentence = (
            f"{self.upscaler.info.name} contradicts the slide in places; there the result shows bicubic with "
            "back-projection, by the guard"
        )
        with self._lock:
            if not self._warnings:
                self._warnings.append(sentence)


def measure_contradiction(low: Rgb, high: Rgb) -> PixelMap:
    """Return how far an enlargement contradicts its input around each pixel, (h, w): difference over contrast.

    Both are root mean squares over a window, of the colour channel where they are largest, and of what remains of the
    input and of the difference once they are smoothed. 0 is agreement; 1 is a difference as large as all there is.
    """
    scale = high.shape[0] // low.shape[0]
    shown = low.astype(np.float32)
    difference = _smooth(shown - shrink_image(high, scale, "area"), SMOOTHING_PX)
    structure = _smooth(shown, SMOOTHING_PX)
    contrast = _smooth(structure**2, WINDOW_PX) - _smooth(structure, WINDOW_PX) ** 2
    ratio: PixelMap = np.sqrt(
        _smooth(difference**2, WINDOW_PX).max(axis=2) / (contrast.max(axis=2).clip(min=0) + CONTRAST_FLOOR**2)
    )
    return ratio


def refused_share(contradiction: PixelMap) -> PixelMap:
    """Return the share of a network's pixels that is not shown, 0 to 1."""
    return np.clip((contradiction - TOLERATED) / (REFUSED - TOLERATED), 0, 1)


def _smooth(planes: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
    """Return the mean over a square around each pixel of (h, w, c)."""
    return np.asarray(cv2.boxFilter(planes, -1, (side, side), borderType=cv2.BORDER_REFLECT_101), np.float32)


def _enlarge_map(values: PixelMap, scale: int) -> PixelMap:
    """Enlarge (h, w) to (h*scale, w*scale), linearly between the centres of pixels."""
    height, width = values.shape
    return np.asarray(cv2.resize(values, (width * scale, height * scale), interpolation=cv2.INTER_LINEAR), np.float32)
