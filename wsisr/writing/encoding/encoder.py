"""Tiles to their codes, a few at a time: those of the finest level from pixels, others from what is stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np

from wsisr.imaging.pixels import Rgb, halve
from wsisr.writing.encoding.codec import Codec

Code: TypeAlias = bytes | memoryview
C = TypeVar("C", bytes, memoryview)


class Finer(NamedTuple):
    """A tile, as the one of the next level shows it."""

    left: int
    top: int
    """Where it lies there, halved, in px."""
    width: int
    height: int
    """Of its part that lies in the image."""
    code: bytes | int
    """The stored code, or its place among those that the coder made last."""


class Coarser(NamedTuple):
    """A tile to be made of those that it shows."""

    width: int
    height: int
    """Of its part that lies in the image."""
    finer: Sequence[Finer]


class Coder(Protocol):
    """Gives codes of tiles, in their order. They may be gone with the next call."""

    def encode(self, tiles: Iterable[Rgb]) -> Sequence[Code]:
        """Of (h, w, 3) sRGB each, at most a tile."""
        ...

    def coarser(self, tiles: Iterable[Coarser]) -> Sequence[Code]:
        """Of the means of what is stored: so they depend on nothing that is not in the file."""
        ...


class Local:
    """By the thread that asks."""

    def __init__(self, codec: Codec, tile_px: int) -> None:
        self.codec, self.tile_px = codec, tile_px
        self._tiles: list[Rgb] = []
        self._codes: list[bytes] = []

    def encode(self, tiles: Iterable[Rgb]) -> list[bytes]:
        self._tiles = list(tiles)
        self._codes = [self.codec.encode(tile, self.tile_px) for tile in self._tiles]
        return self._codes

    def coarser(self, tiles: Iterable[Coarser]) -> list[bytes]:
        return self.encode([self._shown(tile) for tile in tiles])

    def _shown(self, tile: Coarser) -> Rgb:
        pixels = np.empty((tile.height, tile.width, 3), np.uint8)
        for left, top, width, height, code in tile.finer:
            halved = halve(self._stored(code)[:height, :width])
            pixels[top : top + halved.shape[0], left : left + halved.shape[1]] = halved
        return pixels

    def _stored(self, code: bytes | int) -> Rgb:
        """The pixels of a code; where they are at hand and it keeps each of them, these."""
        if isinstance(code, bytes):
            return self.codec.decode(code, self.tile_px)
        return self._tiles[code] if self.codec.coding.exact else self.codec.decode(self._codes[code], self.tile_px)


def parts(data: C, sizes: Iterable[int]) -> Iterator[C]:
    """What lies one after the other, by the bytes of each."""
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
