"""Within the memory there is: an `Upscaler` that takes less at a time where its device runs out, and says so."""

from __future__ import annotations

import math
from threading import Lock
from typing import Protocol

import numpy as np

from wsisr.errors import DeviceError, OutOfMemoryError
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import RgbBatch
from wsisr.imaging.tiling import TileGrid, Tiling
from wsisr.models.upscaler import Upscaler, UpscalerInfo

MIN_PIECE_PX = 32
"""Side of the smallest piece that is tried, in px of the input: below it nearly all of the work is margin."""


class NetworkUpscaler(Upscaler, Protocol):
    """An upscaler that can be told of more than it saw itself."""

    warnings: list[str]


class MemoryBoundedUpscaler:
    """The same pixels as the network it holds, in smaller batches and then in pieces of a window where memory ends.

    A piece is read with the network's context around it, as a tile of a slide is, so cutting changes no pixel. What
    was found to fit is kept for the calls that follow. Calls may come from several threads.
    """

    def __init__(self, network: NetworkUpscaler) -> None:
        self.network = network
        self.warnings = network.warnings
        self._batch_limit: int | None = None
        self._side_limit: int | None = None
        self._lock = Lock()

    @property
    def info(self) -> UpscalerInfo:
        return self.network.info

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        """(n, h, w, 3) sRGB to (n, h*scale, w*scale, 3) sRGB.

        Each round halves what is tried, so there are few. Raises `DeviceError` where even a small piece is too much.
        """
        while True:
            tried = self._batch_limit, self._side_limit
            try:
                return self._enlarge_in_batches(tiles)
            except OutOfMemoryError as error:  # gone, with all that it holds of the failed try, before the next begins
                with self._lock:
                    if tried == (
                        self._batch_limit,
                        self._side_limit,
                    ):  # else a call beside this one has just taken less
                        self._halve_limits(tiles, error)

    def _enlarge_in_batches(self, tiles: RgbBatch) -> RgbBatch:
        most = self._batch_limit or len(tiles)
        if len(tiles) <= most:
            return self._enlarge_in_pieces(tiles)
        return np.concatenate(
            [self._enlarge_in_pieces(tiles[first : first + most]) for first in range(0, len(tiles), most)]
        )

    def _enlarge_in_pieces(self, tiles: RgbBatch) -> RgbBatch:
        count, height, width, _ = tiles.shape
        side = self._side_limit or max(height, width)
        if max(height, width) <= side:
            return self.network(tiles)
        scale = self.info.scale
        grid = TileGrid(Size(width, height), Tiling(side, halo_px=self.info.receptive_field))
        result = np.empty((count, height * scale, width * scale, 3), np.uint8)
        for piece in grid:
            enlarged = self.network(tiles[:, piece.input_box.rows, piece.input_box.columns])
            core_inside = piece.core.relative_to(piece.input_box) * scale
            core = piece.core * scale
            result[:, core.rows, core.columns] = enlarged[:, core_inside.rows, core_inside.columns]
        return result

    def _halve_limits(self, tiles: RgbBatch, error: OutOfMemoryError) -> None:
        """Halves the batch, down to 1, and then the side of the pieces."""
        count, height, width, _ = tiles.shape
        batch = min(self._batch_limit or count, count)
        side = min(self._side_limit or max(height, width), max(height, width))
        if batch > 1:
            self._warn_once(self._batch_limit, f"{batch} tiles of {width} x {height} px at once", "fewer are taken")
            self._batch_limit = batch // 2
        elif side > MIN_PIECE_PX:
            self._warn_once(
                self._side_limit, f"a tile of {width} x {height} px", "it is computed in overlapping pieces"
            )
            self._side_limit = max(MIN_PIECE_PX, math.ceil(side / 2))
        else:
            raise DeviceError(f"{error}, even in pieces of {side} px; free some, or choose another --device") from error

    def _warn_once(self, known: int | None, too_much: str, remedy: str) -> None:
        if known is None:
            where = self.info.hardware
            self.warnings.append(f"not enough memory {where} for {too_much}; {remedy}, which changes no pixel")
