"""An `Upscaler` that computes smaller batches and pieces if its device runs out of memory, and warns of that."""

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
"""Side of the smallest piece that is tried, in px of the input; of smaller ones, nearly all the work is their halo."""


class NetworkUpscaler(Upscaler, Protocol):
    """An upscaler whose list of warnings others may extend."""

    warnings: list[str]


class MemoryBoundedUpscaler:
    """The pixels of its network, computed in smaller batches, then in pieces of a tile, if memory runs out.

    A piece is computed with the receptive field around it, as a tile of a slide is, so splitting changes no pixel. The
    limits that fit are kept for later calls. Several threads may call it.
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
        """Enlarge (n, h, w, 3) sRGB to (n, h*scale, w*scale, 3) sRGB.

        Each failure halves a limit, so there are few failures.

        Raises `DeviceError` if memory runs out for the smallest piece.
        """
        while True:
            limits = self._batch_limit, self._side_limit
            try:
                return self._enlarge_in_batches(tiles)
            except OutOfMemoryError as error:  # deleted with its traceback, which holds tensors, before the next try
                with self._lock:
                    # Otherwise another thread has just halved them.
                    if limits == (self._batch_limit, self._side_limit):
                        self._lower_one_limit(tiles, error)

    def _enlarge_in_batches(self, tiles: RgbBatch) -> RgbBatch:
        limit = self._batch_limit or len(tiles)
        if len(tiles) <= limit:
            return self._enlarge_in_pieces(tiles)
        batches = (tiles[first : first + limit] for first in range(0, len(tiles), limit))
        return np.concatenate([self._enlarge_in_pieces(batch) for batch in batches])

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

    def _lower_one_limit(self, tiles: RgbBatch, error: OutOfMemoryError) -> None:
        """Halve the batch, down to 1, and then the side of the pieces. Raises `DeviceError` at the smallest piece."""
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

    def _warn_once(self, limit: int | None, too_much: str, remedy: str) -> None:
        if limit is None:
            where = self.info.hardware
            self.warnings.append(f"not enough memory {where} for {too_much}; {remedy}, which changes no pixel")
