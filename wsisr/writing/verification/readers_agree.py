"""Two readers of one pyramid, independent of each other, and what they agree on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, halve
from wsisr.progress import counted
from wsisr.slides.slide import Slide
from wsisr.writing import Codec
from wsisr.writing.encoding.grid import Grid
from wsisr.writing.verification.expectation import Finding, Intended

SAMPLES = 9
"""Tiles that are decoded of each level."""

READERS_DIFFER = 2
"""Grey levels by which two decoders of one JPEG may differ."""

CODING_COSTS = 16.0
"""Mean grey levels that an unknown coding may change a tile by; another place of the slide mostly differs by more."""

SAME_MPP = 1e-3

_SIDES = range(16, 4097)
"""Px of a tile that wsisr writes."""


@dataclass(frozen=True, slots=True)
class Witnesses:
    """The readers, and the tiles of each level as the first sees them."""

    one: Slide
    other: Slide
    tiles: tuple[Size, ...]

    def findings(self, meant: Intended) -> Iterator[Finding]:
        """Levels, then facts, then pixels of each level, where the levels are as they should be."""
        sizes = self._sizes()
        yield sizes
        yield from self._facts(meant)
        for number in range(len(self.tiles) if sizes.good else 0):
            yield self._decoded(number, meant.codec)

    def _sizes(self) -> Finding:
        seen, other = ([level.size for level in slide.info.levels] for slide in (self.one, self.other))
        halved = all(Size(-(-a.width // 2), -(-a.height // 2)) == b for a, b in pairwise(seen))
        tile = self.tiles[0]
        alike = set(self.tiles) == {Size(tile.width, tile.width)} and tile.width in _SIDES
        names = self.one.info.reader, self.other.info.reader
        counts = f"{len(seen)} in {names[0]}, {len(other)} in {names[1]}"
        words = f"{counts}, each half the one above: {halved}; tiles of {tile} px, all alike: {alike}"
        return Finding("levels", seen == other and halved and alike, words)

    def _facts(self, meant: Intended) -> Iterator[Finding]:
        """The other tells size and pitch, one of them magnification and profile."""
        first, info = self.one.info, self.other.info
        if meant.size is not None:
            yield Finding("size", meant.size == f"{info.size} px", f"{info.size} px, intended {meant.size}")
        if meant.mpp is not None:
            yield _measure("pixel pitch", info.mpp, meant.mpp, " um/px")
        if meant.magnification is not None:
            yield _measure("magnification", info.objective or first.objective, meant.magnification, "x")
        if meant.icc is not None:
            same = meant.icc in (first.icc, info.icc)
            yield Finding("colour profile", same, f"{len(meant.icc)} bytes intended")

    def _decoded(self, number: int, codec: Codec | None) -> Finding:
        """A sample of tiles: both readers agree, and each is what the level above makes it.

        OpenSlide places its boxes on whole pixels of level 0: where the downsample is not whole, only the first tile
        counts.
        """
        levels, tiles = self.one.info.levels, _Tiles(self.tiles[number].width, codec)
        grid, exact = Grid(levels[number].size, tiles.side), self.other.info.level(number).downsample.is_integer()
        sample = sorted({round(place) for place in np.linspace(0, grid.tiles - 1, SAMPLES)})
        apart, errors = 0, [(0.0, True)]
        for tile in sample:
            box = grid.box(tile)
            seen = self.one.read(box, number)
            if tile == 0 or exact or self.other.info.reader != "openslide":
                apart = max(apart, int(np.abs(self.other.read(box, number).astype(int) - seen).max()))
            if number:
                above = (box * 2).intersection(Box.of(levels[number - 1].size))
                errors.append(tiles.error(seen, self.one.read(above, number - 1)))
        off = f"from the level above by {max(errors)[0]:.3g} grey levels"
        good = apart <= READERS_DIFFER and all(good for _, good in errors)
        return Finding(f"level {number}", good, f"{counted(len(sample), 'tile')}; readers differ by {apart}, {off}")


@dataclass(frozen=True, slots=True)
class _Tiles:
    """How the tiles of a level came about."""

    side: int
    codec: Codec | None

    def error(self, stored: Rgb, above: Rgb) -> tuple[float, bool]:
        """How far a stored tile is from what its pixels of the level above make, in grey levels, and if that may be.

        Of a known codec it is the greatest difference, for the way from one to the other is known; else the mean.
        """
        made = halve(above)
        if self.codec is None:
            mean = float(np.abs(made.astype(int) - stored).mean())
            return mean, mean <= CODING_COSTS
        coded = self.codec.decode(self.codec.encode(made, self.side), self.side)
        most = int(np.abs(coded[: made.shape[0], : made.shape[1]].astype(int) - stored).max())
        return most, most <= READERS_DIFFER


def _measure(check: str, seen: float | None, meant: float, unit: str) -> Finding:
    same = seen is not None and abs(seen / meant - 1) < SAME_MPP
    return Finding(check, same, f"{seen or 0:.6g}{unit}, intended {meant:.6g}")
