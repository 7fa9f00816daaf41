"""A guard for networks: where their output contradicts their input, Pillow's bicubic is shown instead.

On input unlike its training a network can drop pale structures, shift a colour or draw a pattern that is not there.
The input itself tells: averaged back to the input's pixels, an enlargement must show what the input shows. Only what is
wider than a few pixels is compared, so that noise and compression may be taken off. Limits and windows are this
project's choice, by measurement (`wsisr evaluate --densities`, with and without `--no-guard`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.imaging.bicubic import enlarge_bicubic
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import CUBIC_RADIUS, Rgb, RgbBatch, average_blocks
from wsisr.models.upscaler import Upscaler, UpscalerInfo

SMOOTHING_PX = 5
"""Side of the square over which differences are averaged before they count, in input px."""

WINDOW_PX = 9
"""Side of the square in which differences are compared with the input's contrast, in input px."""

CONTRAST_FLOOR = 1.5
"""Grey levels that the input's contrast is raised by, as squares are added: on glass all contrast is noise."""

TOLERATED, REFUSED = 0.25, 0.5
"""Ratio of difference to contrast up to which all of a network's pixel is shown, and from which nothing of it is."""

GUARD_RADIUS = SMOOTHING_PX // 2 + WINDOW_PX // 2 + 1
"""Input px around a pixel whose enlargement the guard looks at; one of them for the shares, which are interpolated."""

WARNED_SHARE, WARNED_PX = 0.5, 64 * 64
"""Share of a tile that is refused, and its least size in input px, from which the reader of the result is warned."""

PixelMap: TypeAlias = npt.NDArray[np.float32]
"""(h, w): one number for each pixel."""

ColourPlanes: TypeAlias = npt.NDArray[np.float32]
"""(h, w, 3) in grey levels."""


class GuardedUpscaler:
    """Another upscaler's pixels, blended with bicubic as far as they contradict the input. Threads may share it."""

    def __init__(self, upscaler: Upscaler) -> None:
        self.upscaler = upscaler
        self._lock = Lock()
        self.warnings: list[str] = list(upscaler.warnings)

    @property
    def info(self) -> UpscalerInfo:
        """The wrapped upscaler's facts, with the receptive field of the guard's decisions."""
        info = self.upscaler.info
        radius = max(info.receptive_field, CUBIC_RADIUS) + GUARD_RADIUS
        return replace(info, receptive_field=radius, is_guarded=True)

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        """(n, h, w, 3) sRGB to (n, h*scale, w*scale, 3) sRGB."""
        enlarged = self.upscaler(tiles)
        self._add_warnings(self.upscaler.warnings)
        return np.stack([self._guard_image(low, high) for low, high in zip(tiles, enlarged, strict=True)])

    def _guard_image(self, low: Rgb, high: Rgb) -> Rgb:
        shares = find_refused_shares(measure_contradiction(low, high))
        if not shares.any():
            return high
        if shares.size >= WARNED_PX and shares.mean() >= WARNED_SHARE:
            self._warn()
        return blend_with_bicubic(low, high, shares)

    def _warn(self) -> None:
        """Warn once, in words that do not depend on the tile."""
        text = (
            f"{self.upscaler.info.name} contradicts the slide in places, where the guard shows bicubic instead: "
            "the stain may be paler or darker than what the network knows; look there before you trust the result"
        )
        self._add_warnings([text])

    def _add_warnings(self, texts: Sequence[str]) -> None:
        """Add what is new at the end: readers know by the number of warnings which of them they have shown."""
        with self._lock:
            self.warnings += [text for text in texts if text not in self.warnings]


def measure_contradiction(low: Rgb, high: Rgb) -> PixelMap:
    """Return how far an enlargement (h*scale, w*scale, 3) contradicts its input (h, w, 3) around each pixel, (h, w).

    It is the difference, averaged back to the input and smoothed, over the contrast of the input, smoothed likewise:
    root mean squares over a window, of the colour where each is largest. 0 is agreement; 1 is a difference as large as
    all that there is to see.
    """
    shown = low.astype(np.float32)
    difference = _average_around(shown - average_blocks(high, high.shape[0] // low.shape[0]), SMOOTHING_PX)
    structure = _average_around(shown, SMOOTHING_PX)
    variance = _average_around(structure**2, WINDOW_PX) - _average_around(structure, WINDOW_PX) ** 2
    contrast = variance.max(axis=2).clip(min=0) + np.float32(CONTRAST_FLOOR**2)
    contradiction: PixelMap = np.sqrt(_average_around(difference**2, WINDOW_PX).max(axis=2) / contrast)
    return contradiction


def find_refused_shares(contradiction: PixelMap) -> PixelMap:
    """Return the share of bicubic in each pixel, 0 to 1, (h, w)."""
    shares: PixelMap = ((contradiction - TOLERATED) / (REFUSED - TOLERATED)).clip(0, 1)
    return shares


def blend_with_bicubic(low: Rgb, high: Rgb, shares: PixelMap) -> Rgb:
    """Return an enlargement with a share of bicubic around each input pixel, interpolated between their centres."""
    height, width = shares.shape
    scale = high.shape[0] // height
    image = Box.from_size(Size(width, height))
    rows, columns = (np.flatnonzero(shares.any(axis=axis)) for axis in (1, 0))
    part = Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    part = part.expand(1).intersection(image)  # interpolation carries a share to the next pixel
    around = part.expand(CUBIC_RADIUS).intersection(image)
    inside, place = part.relative_to(around) * scale, part * scale
    bicubic = enlarge_bicubic(low[around.rows, around.columns], scale)[inside.rows, inside.columns]
    fine = cv2.resize(shares[around.rows, around.columns], None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    share = np.asarray(fine, np.float32)[inside.rows, inside.columns, None]
    result = high.copy()
    own = high[place.rows, place.columns].astype(np.float32)
    result[place.rows, place.columns] = np.rint(own + share * (bicubic - own))
    return result


def _average_around(planes: ColourPlanes, side: int) -> ColourPlanes:
    """Return the mean over a square around each pixel."""
    return np.asarray(cv2.boxFilter(planes, -1, (side, side), borderType=cv2.BORDER_REFLECT_101), np.float32)
