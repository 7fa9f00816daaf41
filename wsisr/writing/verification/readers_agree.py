"""Two readers of one pyramid, independent of each other, and what they agree on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, halve_image
from wsisr.progress import format_count
from wsisr.slides.slide import Slide
from wsisr.writing import Codec
from wsisr.writing.encoding.grid import LevelGrid
from wsisr.writing.verification.expectation import Expectation, Finding

TILES_PER_LEVEL = 9
"""Tiles that are decoded of each level."""

DECODER_DIFFERENCE = 2
"""Grey levels by which two decoders of one JPEG may differ."""

UNKNOWN_CODEC_ERROR = 16.0
"""Mean grey levels that an unknown coding may change a tile by; another place of the slide mostly differs by more."""

SAME_MPP = 1e-3

_TILE_SIDES = range(16, 4097)
"""Px of a tile that wsisr writes."""


@dataclass(frozen=True, slots=True)
class ReaderComparison:
    """The readers, and the tiles of each level as the first sees them."""

    first: Slide
    second: Slide
    tile_sizes: tuple[Size, ...]

    def iterate_findings(self, meant: Expectation) -> Iterator[Finding]:
        """Levels, then facts, then pixels of each level, where the levels are as they should be."""
        sizes = self._check_levels()
        yield sizes
        yield from self._check_facts(meant)
        for number in range(len(self.tile_sizes) if sizes.good else 0):
            yield self._check_pixels(number, meant.codec)

    def _check_levels(self) -> Finding:
        seen, other = ([level.size for level in slide.info.levels] for slide in (self.first, self.second))
        halved = all(Size(-(-a.width // 2), -(-a.height // 2)) == b for a, b in pairwise(seen))
        tile = self.tile_sizes[0]
        alike = set(self.tile_sizes) == {Size(tile.width, tile.width)} and tile.width in _TILE_SIDES
        names = self.first.info.reader, self.second.info.reader
        counts = f"{len(seen)} in {names[0]}, {len(other)} in {names[1]}"
        words = f"{counts}, each half the one above: {halved}; tiles of {tile} px, all alike: {alike}"
        return Finding("levels", seen == other and halved and alike, words)

    def _check_facts(self, meant: Expectation) -> Iterator[Finding]:
        """The other tells size and pitch, one of them magnification and profile."""
        first, info = self.first.info, self.second.info
        if meant.size is not None:
            yield Finding("size", meant.size == f"{info.size} px", f"{info.size} px, intended {meant.size}")
        if meant.mpp is not None:
            yield _compare_number("pixel pitch", info.mpp, meant.mpp, " um/px")
        if meant.magnification is not None:
            yield _compare_number("magnification", info.objective or first.objective, meant.magnification, "x")
        if meant.icc is not None:
            same = meant.icc in (first.icc, info.icc)
            yield Finding("colour profile", same, f"{len(meant.icc)} bytes intended")

    def _check_pixels(self, number: int, codec: Codec | None) -> Finding:
        """A sample of tiles: both readers agree, and each is what the level above makes it.

        OpenSlide places its boxes on whole pixels of level 0: where the downsample is not whole, only the first tile
        counts.
        """
        levels, tiles = self.first.info.levels, _TileCoding(self.tile_sizes[number].width, codec)
        grid, exact = (
            LevelGrid(levels[number].size, tiles.tile_px),
            self.second.info.get_level(number).downsample.is_integer(),
        )
        sample = sorted({round(place) for place in np.linspace(0, grid.tile_count - 1, TILES_PER_LEVEL)})
        apart, errors = 0, [(0.0, True)]
        for tile in sample:
            box = grid.tile_box(tile)
            seen = self.first.read(box, number)
            if tile == 0 or exact or self.second.info.reader != "openslide":
                apart = max(apart, int(np.abs(self.second.read(box, number).astype(int) - seen).max()))
            if number:
                above = (box * 2).intersection(Box.from_size(levels[number - 1].size))
                errors.append(tiles.measure_error(seen, self.first.read(above, number - 1)))
        off = f"from the level above by {max(errors)[0]:.3g} grey levels"
        good = apart <= DECODER_DIFFERENCE and all(good for _, good in errors)
        return Finding(
            f"level {number}", good, f"{format_count(len(sample), 'tile')}; readers differ by {apart}, {off}"
        )


@dataclass(frozen=True, slots=True)
class _TileCoding:
    """How the tiles of a level came about."""

    tile_px: int
    codec: Codec | None

    def measure_error(self, stored: Rgb, above: Rgb) -> tuple[float, bool]:
        """How far a stored tile is from what its pixels of the level above make, in grey levels, and if that may be.

        Of a known codec it is the greatest difference, for the way from one to the other is known; else the mean.
        """
        made = halve_image(above)
        if self.codec is None:
            mean = float(np.abs(made.astype(int) - stored).mean())
            return mean, mean <= UNKNOWN_CODEC_ERROR
        coded = self.codec.decode(self.codec.encode(made, self.tile_px), self.tile_px)
        most = int(np.abs(coded[: made.shape[0], : made.shape[1]].astype(int) - stored).max())
        return most, most <= DECODER_DIFFERENCE


def _compare_number(check: str, seen: float | None, meant: float, unit: str) -> Finding:
    same = seen is not None and abs(seen / meant - 1) < SAME_MPP
    return Finding(check, same, f"{seen or 0:.6g}{unit}, intended {meant:.6g}")
