"""Encodes a few tiles at a time: those of the finest level from pixels, those of coarser levels from stored tiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np

from wsisr.imaging.pixels import Rgb, halve_image
from wsisr.writing.encoding.codec import Codec

EncodedTile: TypeAlias = bytes | memoryview
C = TypeVar("C", bytes, memoryview)


class FinerTile(NamedTuple):
    """A stored tile that a tile of the next coarser level is made from."""

    left: int
    top: int
    """Position of the halved tile in the coarser tile, in px."""
    width: int
    height: int
    """Size in px of the part of the stored tile that lies in the image."""
    encoded: bytes | int
    """The stored bytes, or the tile's index among those that the encoder encoded last."""


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
        """Encode the 2x2 means of decoded stored tiles, so that the result depends only on what is in the file."""
        ...


class LocalEncoder:
    """A `TileEncoder` that runs in the calling thread."""

    def __init__(self, codec: Codec, tile_px: int) -> None:
        self.codec, self.tile_px = codec, tile_px
        self._tiles: list[Rgb] = []
        self._encoded: list[bytes] = []

    def encode_tiles(self, tiles: Iterable[Rgb]) -> list[bytes]:
        self._tiles = list(tiles)
        self._encoded = [self.codec.encode(tile, self.tile_px) for tile in self._tiles]
        return self._encoded

    def encode_coarser(self, tiles: Iterable[CoarserTile]) -> list[bytes]:
        return self.encode_tiles([self._compose_tile(tile) for tile in tiles])

    def _compose_tile(self, tile: CoarserTile) -> Rgb:
        pixels = np.empty((tile.height, tile.width, 3), np.uint8)
        for left, top, width, height, encoded in tile.finer_tiles:
            halved = halve_image(self._decode_stored(encoded)[:height, :width])
            pixels[top : top + halved.shape[0], left : left + halved.shape[1]] = halved
        return pixels

    def _decode_stored(self, encoded: bytes | int) -> Rgb:
        """Return the decoded pixels of a stored tile; of one just encoded without loss, the pixels themselves."""
        if isinstance(encoded, bytes):
            return self.codec.decode(encoded, self.tile_px)
        if self.codec.compression_method.is_lossless:
            return self._tiles[encoded]
        return self.codec.decode(self._encoded[encoded], self.tile_px)


def split_bytes(data: C, sizes: Iterable[int]) -> Iterator[C]:
    """Split consecutive pieces by their sizes in bytes."""
    start = 0
    for size in sizes:
        yield data[start : start + size]
        start += size
