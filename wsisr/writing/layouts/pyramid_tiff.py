"""A pyramid as one TIFF file: classic where 32-bit offsets surely reach, BigTIFF where they may not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsisr.errors import OutputError
from wsisr.writing.layouts.tiff_writer import TiffDraft
from wsisr.writing.spec import PyramidSpec
from wsisr.writing.workdir.tile_store import TileStore

CLASSIC_BYTES = 2**32 - 1
"""What 32-bit offsets can reach."""

EXTRA_BYTES = 2**21
"""More than thumbnail and words take."""


@dataclass(frozen=True, slots=True)
class PyramidTiff:
    """How images and words are arranged in the file."""

    write_images: Callable[[TiffDraft, Sequence[TileStore], PyramidSpec], Iterator[int]]
    build_description: Callable[[PyramidSpec], bytes]
    """The longest description."""

    def write_file(self, path: Path, levels: Sequence[TileStore], spec: PyramidSpec) -> Iterator[int]:
        """Write the file by copying encoded tiles; yields how many, row by row. One tile in memory at a time.

        Raises `OSError` where the disk refuses, `OutputError` where classic TIFF is asked for and too small.
        """
        big = self._needs_bigtiff(levels, spec)
        with path.open("w+b") as file:
            yield from self.write_images(
                TiffDraft(file, big=big, shared=spec.codec.white_tile(spec.tile_px)), levels, spec
            )
            file.flush()
            os.fsync(file.fileno())

    def max_bytes(self, levels: Sequence[TileStore], spec: PyramidSpec) -> int:
        """Size that the file cannot exceed: tiles, 16 bytes of index for each, metadata, room for the other tags."""
        tiles = sum(level.nbytes + 16 * level.grid.tile_count + 2048 for level in levels)
        pictures = 2 * sum(pixels.nbytes for pixels in spec.associated_images.values())  # LZW can swell what it codes
        return tiles + len(self.build_description(spec)) + len(spec.icc or b"") + pictures + EXTRA_BYTES

    def _needs_bigtiff(self, levels: Sequence[TileStore], spec: PyramidSpec) -> bool:
        needed = self.max_bytes(levels, spec) > CLASSIC_BYTES
        if needed and spec.bigtiff is False:
            raise OutputError("classic TIFF ends at 4 GB and this image may be larger; let it be a BigTIFF")
        return needed if spec.bigtiff is None else spec.bigtiff
