"""Writing a pyramid from level-0 pixels that arrive box by box, in any order; memory does not grow with the image."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from wsisr.files import check_output, disk_errors, publish
from wsisr.geometry import Box
from wsisr.pixels import Rgb, halve
from wsisr.progress import Progress
from wsisr.writing.grid import pyramid
from wsisr.writing.hybrid import assemble
from wsisr.writing.scratch import Scratch
from wsisr.writing.spec import TiffSpec
from wsisr.writing.store import TileStore


class PyramidWriter:
    """A pyramid in the making, as a context: leaving it before `finish` ended leaves nothing behind.

    Everything lies in a scratch folder beside the output until the file is whole. Memory: the pixels that `write` is
    given, about eight tiles per thread, and 16 bytes for each tile of the pyramid.
    """

    def __init__(self, output: Path, spec: TiffSpec, *, overwrite: bool = False) -> None:
        self.output = output
        self.spec = spec
        self.overwrite = overwrite
        self._levels: tuple[TileStore, ...] = ()
        self._published_bytes: int | None = None

    def __enter__(self) -> Self:
        """Claim the output. Raises `OutputError` where it exists, cannot be written, or another run is at it."""
        check_output(self.output, overwrite=self.overwrite)
        with disk_errors(self.output):
            self._scratch = Scratch(self.output)
            try:
                self._open_levels()
            except OSError:
                self._close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def bytes_written(self) -> int:
        """Encoded bytes so far; the size of the file once it is finished."""
        return self._published_bytes or sum(level.nbytes for level in self._levels)

    def write(self, box: Box, pixels: Rgb) -> None:
        """Encode and store (h, w, 3) sRGB of a box in level-0 px: whole tiles, each once. Safe from several threads.

        Raises `OutputError` where the disk refuses, `ValueError` where box or pixels break these rules.
        """
        base = self._levels[0]
        if pixels.shape != (box.height, box.width, 3) or pixels.dtype != np.uint8:
            raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}, not uint8 ({box.height}, {box.width}, 3)")
        if not base.grid.holds_whole_tiles(box):
            raise ValueError(f"{box} is not made of whole tiles of {base.grid.tile_px} px in {base.grid.size}")
        with disk_errors(self.output):
            for tile in base.grid.touching(box):
                part = base.grid.box(tile).moved(-box.left, -box.top)
                self._put(base, tile, pixels[part.rows, part.columns])

    def annotate(self, note: Mapping[str, str]) -> None:
        """Add to the file's note what became known on the way; before `finish`."""
        self.spec = replace(self.spec, note={**self.spec.note, **note})

    def finish(self, workers: int | None = None) -> Iterator[Progress]:
        """Build the other levels, assemble the file, give it its name; done when the iterator ends.

        Yields `pyramid`, then `assemble`, in tiles. Raises `OutputError` where the disk refuses or the name is taken
        by now, `ValueError` where level 0 is incomplete.
        """
        if self._levels[0].missing:
            raise ValueError(f"{self._levels[0].missing} tiles of level 0 were never written")
        with disk_errors(self.output):
            yield from self._build_levels(workers or min(8, os.cpu_count() or 1))
            yield from self._assemble()
            size = self._scratch.image.stat().st_size
            publish(self._scratch.image, self.output, overwrite=self.overwrite)
            self._published_bytes = size

    def _build_levels(self, workers: int) -> Iterator[Progress]:
        done, total = 0, sum(level.grid.tiles for level in self._levels[1:])
        with ThreadPoolExecutor(workers) as pool:
            for finer, coarser in pairwise(self._levels):
                for row in range(coarser.grid.rows):
                    tiles = coarser.grid.row(row)
                    list(pool.map(lambda tile, finer=finer, coarser=coarser: self._halve(finer, coarser, tile), tiles))
                    done += len(tiles)
                    yield Progress("pyramid", done, total)

    def _halve(self, finer: TileStore, coarser: TileStore, tile: int) -> None:
        # From the stored tiles, not from the pixels that came in: so the result does not depend on what is at hand.
        source = (coarser.grid.box(tile) * 2).intersection(Box.of(finer.grid.size))
        self._put(coarser, tile, halve(finer.read(source)))

    def _put(self, level: TileStore, tile: int, pixels: Rgb) -> None:
        level.put(tile, self.spec.codec.encode(pixels, self.spec.tile_px))

    def _assemble(self) -> Iterator[Progress]:
        total = sum(level.grid.tiles for level in self._levels)
        for done in assemble(self._scratch.image, self._levels, self.spec):
            yield Progress("assemble", done, total)

    def _open_levels(self) -> None:
        for number, grid in enumerate(pyramid(self.spec.size, self.spec.tile_px)):
            self._levels += (TileStore(self._scratch.level(number), grid, self.spec.codec),)

    def _close(self) -> None:
        for level in self._levels:
            level.close()
        self._scratch.remove()
