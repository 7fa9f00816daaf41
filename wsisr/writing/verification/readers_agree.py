"""Compares what two independent readers see of one pyramid, with each other and with what is expected."""

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
"""Number of tiles of each level that are decoded where not every one is."""

DECODER_DIFFERENCE = 2
"""Grey levels by which two decoders of one JPEG may differ."""

UNKNOWN_CODEC_ERROR = 16.0
"""Mean grey levels by which an unknown codec may change a tile; other tissue of the slide mostly differs by more."""

CODEC_LOSSES, ROUNDING_LEVELS = 1.5, 0.5
"""How far a tile of a lossy codec may be from the mean of the finer level, which was encoded, too: so many times what
the codec does to that mean, and so many grey levels, both on average. At most 1.05 times was measured on tissue, noise
and drawings with JPEG from quality 10 on; a shift by one pixel is more from quality 85 on."""

RELATIVE_TOLERANCE = 1e-3
"""Relative difference up to which two pixel sizes or magnifications count as equal."""

_TILE_SIDES = range(16, 4097)
"""Tile sides that wsisr writes, in px."""


@dataclass(frozen=True, slots=True)
class ReaderComparison:
    """Two readers of a file, the tile size of each level as the first reader sees it, and whether every tile counts."""

    first: Slide
    second: Slide
    tile_sizes: tuple[Size, ...]
    every_tile: bool = False

    def iterate_findings(self, expected: Expectation) -> Iterator[Finding]:
        """Check the levels, then the metadata, then, if the levels are right, the pixels of each level."""
        levels = self._check_levels()
        yield levels
        yield from self._check_facts(expected)
        for number in range(len(self.tile_sizes) if levels.good else 0):
            yield self._check_pixels(number, expected.codec)

    def _check_levels(self) -> Finding:
        first, second = ([level.size for level in slide.info.levels] for slide in (self.first, self.second))
        is_halved = all(
            Size(-(-finer.width // 2), -(-finer.height // 2)) == coarser for finer, coarser in pairwise(first)
        )
        tile = self.tile_sizes[0]
        is_uniform = set(self.tile_sizes) == {Size(tile.width, tile.width)} and tile.width in _TILE_SIDES
        counts = f"{len(first)} in {self.first.info.reader}, {len(second)} in {self.second.info.reader}"
        words = f"{counts}, each half the finer one: {is_halved}; tiles of {tile} px on all levels: {is_uniform}"
        return Finding("levels", first == second and is_halved and is_uniform, words)

    def _check_facts(self, expected: Expectation) -> Iterator[Finding]:
        """Check size and pixel size as the second reader sees them, magnification and profile as either does."""
        first, second = self.first.info, self.second.info
        if expected.size is not None:
            is_equal = expected.size == f"{second.size} px"
            yield Finding("size", is_equal, f"{second.size} px, expected {expected.size}")
        if expected.mpp is not None:
            yield _compare_number("pixel pitch", second.mpp, expected.mpp, " um/px")
        if expected.magnification is not None:
            yield _compare_number("magnification", second.objective or first.objective, expected.magnification, "x")
        if expected.icc is not None:
            is_equal = expected.icc in (first.icc, second.icc)
            yield Finding("colour profile", is_equal, f"{len(expected.icc)} bytes expected")

    def _check_pixels(self, number: int, codec: Codec | None) -> Finding:
        """Check that the readers agree on a sample of tiles or on all, and that each shows the mean of the finer level.

        OpenSlide positions its boxes on whole pixels of level 0: if the downsample is not a whole number, only the
        first tile is compared.
        """
        levels, tile_check = self.first.info.levels, _TileCheck(self.tile_sizes[number].width, codec)
        grid = LevelGrid(levels[number].size, tile_check.tile_px)
        is_exact = self.second.info.get_level(number).downsample.is_integer() or self.second.info.reader != "openslide"
        count = grid.tile_count if self.every_tile else TILES_PER_LEVEL
        sample = sorted({round(tile) for tile in np.linspace(0, grid.tile_count - 1, count)})
        difference, errors = 0, [(0.0, True)]
        for tile in sample:
            box = grid.tile_box(tile)
            stored = self.first.read(box, number)
            if tile == 0 or is_exact:
                difference = max(difference, int(np.abs(self.second.read(box, number).astype(int) - stored).max()))
            if number:
                finer_box = (box * 2).intersection(Box.from_size(levels[number - 1].size))
                errors.append(tile_check.measure_error(stored, self.first.read(finer_box, number - 1)))
        good = difference <= DECODER_DIFFERENCE and all(is_acceptable for _, is_acceptable in errors)
        error = f"the finer level's mean by {max(errors)[0]:.3g} grey levels"
        words = f"{format_count(len(sample), 'tile')}; readers differ by {difference}, tiles from {error}"
        return Finding(f"level {number}", good, words)


@dataclass(frozen=True, slots=True)
class _TileCheck:
    """Compares stored tiles with the finer pixels that they were made from."""

    tile_px: int
    codec: Codec | None

    def measure_error(self, stored: Rgb, finer: Rgb) -> tuple[float, bool]:
        """Return how far a stored tile is from the mean of its finer pixels, in grey levels, and if that is acceptable.

        Without loss, the greatest difference counts. Otherwise it is the average, which must be about what the codec
        itself does to that mean: a tile was made from the finer pixels before those were encoded.
        """
        halved = halve_image(finer)
        differences = np.abs(halved.astype(int) - stored)
        average = float(differences.mean())
        if self.codec is None:
            return average, average <= UNKNOWN_CODEC_ERROR
        if self.codec.compression_method.is_lossless:
            greatest = int(differences.max())
            return greatest, greatest <= DECODER_DIFFERENCE
        decoded = self.codec.decode(self.codec.encode(halved, self.tile_px), self.tile_px)
        loss = float(np.abs(decoded[: halved.shape[0], : halved.shape[1]].astype(int) - halved).mean())
        return average, average <= CODEC_LOSSES * loss + ROUNDING_LEVELS


def _compare_number(check: str, value: float | None, expected: float, unit: str) -> Finding:
    is_equal = value is not None and abs(value / expected - 1) < RELATIVE_TOLERANCE
    return Finding(check, is_equal, f"{value or 0:.6g}{unit}, expected {expected:.6g}")
