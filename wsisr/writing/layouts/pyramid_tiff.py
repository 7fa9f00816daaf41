"""A pyramid as one TIFF file: classic TIFF if 32-bit offsets suffice for certain, otherwise BigTIFF."""

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
"""Largest file that 32-bit offsets can address."""

EXTRA_BYTES = 2**21
"""Upper bound of what the thumbnail, the drawn label and the other descriptions take."""


@dataclass(frozen=True, slots=True)
class PyramidTiff:
    """A TIFF layout: the functions that arrange the images and describe them."""

    write_images: Callable[[TiffDraft, Sequence[TileStore], PyramidSpec], Iterator[int]]
    build_description: Callable[[PyramidSpec], bytes]
    """Returns the longest description in the file."""

    def write_file(self, path: Path, levels: Sequence[TileStore], spec: PyramidSpec) -> Iterator[int]:
        """Write the file by copying encoded tiles; yields, row by row, how many were copied. Memory: a few tiles.

        Raises `OSError` for disk errors, `OutputError` if the file may be too large for the requested classic TIFF.
        """
        big = self._needs_bigtiff(levels, spec)
        with path.open("w+b") as file:
            draft = TiffDraft(file, big=big, shared=spec.codec.white_tile(spec.tile_px))
            yield from self.write_images(draft, levels, spec)
            file.flush()
            os.fsync(file.fileno())

    def max_bytes(self, levels: Sequence[TileStore], spec: PyramidSpec) -> int:
        """Return an upper bound of the file's size: tiles, 16 bytes of index for each, metadata and all other tags."""
        tiles = sum(level.nbytes + 16 * level.grid.tile_count + 2048 for level in levels)
        associated = 2 * sum(pixels.nbytes for pixels in spec.associated_images.values())  # LZW may enlarge an image
        return tiles + len(self.build_description(spec)) + len(spec.icc or b"") + associated + EXTRA_BYTES

    def _needs_bigtiff(self, levels: Sequence[TileStore], spec: PyramidSpec) -> bool:
        may_exceed = self.max_bytes(levels, spec) > CLASSIC_BYTES
        if may_exceed and spec.bigtiff is False:
            raise OutputError("classic TIFF ends at 4 GB and this image may be larger; write a BigTIFF")
        return may_exceed if spec.bigtiff is None else spec.bigtiff
