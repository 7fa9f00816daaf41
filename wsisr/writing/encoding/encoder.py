"""Encodes a few tiles at a time: those of the finest level from pixels, those of coarser levels from finer tiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np

from wsisr.imaging.pixels import Rgb, halve_image
from wsisr.writing.encoding.codec import Codec

EncodedTile: TypeAlias = bytes | memoryview
C = TypeVar("C", bytes, memoryview)


class FinerTile(NamedTuple):
    """A tile, halved, that a tile of the next coarser level is made from."""

    left: int
    top: int
    """Position of the halved tile in the coarser tile, in px."""
    width: int
    height: int
    """Size of the halved tile, in px."""
    halved: bytes | int
    """Its pixels, as `halve_tiles` returned them, or the tile's index among those that the encoder encoded last."""


class CoarserTile(NamedTuple):
    """A tile of a coarser level, to be made from finer tiles."""

    width: int
    height: int
    """Size in px of the part of the tile that lies in the image."""
    finer_tiles: Sequence[FinerTile]


class TileEncoder(Protocol):
    """Encodes tiles in their order. The results are only valid until the next call."""

    def encode_tiles(self, tiles: Iterable[Rgb]) -> Sequence[EncodedTile]:
        """Encode tiles of (h, w, 3) sRGB, each at most as large as a whole tile."""
        ...

    def encode_coarser(self, tiles: Iterable[CoarserTile]) -> Sequence[EncodedTile]:
        """Encode the 2x2 means of finer tiles, as they were before they were encoded."""
        ...

    def halve_tiles(self, indices: Sequence[int]) -> Sequence[EncodedTile]:
        """Return the 2x2 means of some of the tiles encoded last: the bytes of (h, w, 3) sRGB for each."""
        ...


class LocalEncoder:
    """A `TileEncoder` that runs in the calling thread."""

    def __init__(self, codec: Codec, tile_px: int) -> None:
        self.codec, self.tile_px = codec, tile_px
        self._halved: list[Rgb] = []

    def encode_tiles(self, tiles: Iterable[Rgb]) -> list[bytes]:
        encoded, self._halved = [], []
        for tile in tiles:
            pixels = np.ascontiguousarray(tile)
            encoded.append(self.codec.encode(pixels, self.tile_px))
            self._halved.append(halve_image(pixels))  # while the processor's cache holds them
        return encoded

    def encode_coarser(self, tiles: Iterable[CoarserTile]) -> list[bytes]:
        return self.encode_tiles([self._compose_tile(tile) for tile in tiles])

    def halve_tiles(self, indices: Sequence[int]) -> list[bytes]:
        return [self._halved[index].tobytes() for index in indices]

    def _compose_tile(self, tile: CoarserTile) -> Rgb:
        pixels = np.empty((tile.height, tile.width, 3), np.uint8)
        for left, top, width, height, halved in tile.finer_tiles:
            pixels[top : top + height, left : left + width] = (
                self._halved[halved]
                if isinstance(halved, int)
                else np.frombuffer(halved, np.uint8).reshape(height, width, 3)
            )
        return pixels


def split_bytes(data: C, sizes: Iterable[int]) -> Iterator[C]:
    """Split consecutive pieces by their sizes in bytes."""
    start = 0
    for size in sizes:
        yield data[start : start + size]
        start += size
