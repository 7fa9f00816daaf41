"""Writing a pyramid from level-0 pixels that arrive box by box, in any order; memory does not grow with the image."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from wsisr.errors import OutputError
from wsisr.files import check_output, disk_errors, publish
from wsisr.geometry import Box
from wsisr.pixels import Rgb, halve
from wsisr.progress import Progress
from wsisr.writing.grid import pyramid
from wsisr.writing.journal import Journal
from wsisr.writing.layouts import assemble, layout_of
from wsisr.writing.scratch import Identity, Scratch
from wsisr.writing.spec import TiffSpec
from wsisr.writing.store import TileStore


@dataclass(frozen=True, slots=True)
class WorkFolder:
    """Where finished tiles lie until the file is assembled from them, and for whom."""

    identity: Identity | None = None
    """Of the run that may go on there after it was stopped; None for none."""
    parent: Path | None = None
    """Beside the output by default."""
    keep: bool = False
    """Leave it even where the file is finished; it can be made again from it."""


class PyramidWriter:
    """A pyramid in the making, as a context.

    Everything lies in a folder of its own until the file is whole. Leaving before `finish` ended leaves nothing behind;
    with an `Identity` of the run, finished tiles stay, and a writer of the same identity goes on from them.
    Memory: the pixels that `write` is given, about eight tiles per thread, and 17 bytes for each tile of the pyramid.
    """

    def __init__(
        self, output: Path, spec: TiffSpec, work: WorkFolder | None = None, *, overwrite: bool = False
    ) -> None:
        self.output = output
        self.spec = spec
        self.work = work or WorkFolder()
        self.overwrite = overwrite
        self._taken = False
        self._pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1), "wsisr-encode")
        self._layout = layout_of(output, spec.layout)
        self._levels: tuple[TileStore, ...] = ()
        self._published_bytes: int | None = None

    def __enter__(self) -> Self:
        """Claim the output and take up what is there of this run.

        Raises `OutputError` where it exists, cannot be written, another run is at it, or another's work lies there.
        """
        check_output(self.output, overwrite=self.overwrite)
        with disk_errors(self.output):
            self._scratch = self._beside = Scratch(self.output)
            try:
                self._scratch = self._claim_work(self._beside)
                self._scratch.take_up(self.work.identity, restart=self.overwrite)
                self._taken = True
                self._open_levels()
            except (OSError, OutputError):
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

    @property
    def tiles_found(self) -> int:
        """Tiles that an earlier run had finished, of all levels."""
        return sum(int(level.found.sum()) for level in self._levels)

    def holds(self, box: Box) -> bool:
        """Whether an earlier run finished all tiles of a box in level-0 px."""
        base = self._levels[0]
        return all(base.found[tile] for tile in base.grid.touching(box))

    def write(self, box: Box, pixels: Rgb) -> None:
        """Encode and store (h, w, 3) sRGB of a box in level-0 px: whole tiles, each once. Safe from several threads.

        Tiles that an earlier run finished stay as they are.
        Raises `OutputError` where the disk refuses, `ValueError` where box or pixels break these rules.
        """
        base = self._levels[0]
        if pixels.shape != (box.height, box.width, 3) or pixels.dtype != np.uint8:
            raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}, not uint8 ({box.height}, {box.width}, 3)")
        if not base.grid.holds_whole_tiles(box):
            raise ValueError(f"{box} is not made of whole tiles of {base.grid.tile_px} px in {base.grid.size}")
        with disk_errors(self.output):
            missing = [tile for tile in base.grid.touching(box) if not base.found[tile]]
            deque(
                self._pool.map(lambda tile: self._put(base, tile, pixels[_within(box, base.grid.box(tile))]), missing),
                0,
            )

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
            size = self._beside.image.stat().st_size
            publish(self._beside.image, self.output, overwrite=self.overwrite)
            self._published_bytes = size

    def _build_levels(self, workers: int) -> Iterator[Progress]:
        done, total = 0, sum(level.grid.tiles for level in self._levels[1:])
        with ThreadPoolExecutor(workers) as pool:
            for finer, coarser in pairwise(self._levels):
                for row in range(coarser.grid.rows):
                    tiles = [tile for tile in coarser.grid.row(row) if not coarser.found[tile]]
                    list(pool.map(lambda tile, finer=finer, coarser=coarser: self._halve(finer, coarser, tile), tiles))
                    done += coarser.grid.columns
                    yield Progress("pyramid", done, total)

    def _halve(self, finer: TileStore, coarser: TileStore, tile: int) -> None:
        # From the stored tiles, not from the pixels that came in: so the result does not depend on what is at hand.
        source = (coarser.grid.box(tile) * 2).intersection(Box.of(finer.grid.size))
        self._put(coarser, tile, halve(finer.read(source)))

    def _put(self, level: TileStore, tile: int, pixels: Rgb) -> None:
        level.put(tile, self.spec.codec.encode(pixels, self.spec.tile_px))

    def _assemble(self) -> Iterator[Progress]:
        total = sum(level.grid.tiles for level in self._levels)
        for done in assemble(self._beside.image, self._levels, self.spec, self._layout):
            yield Progress("assemble", done, total)

    def _open_levels(self) -> None:
        for number, grid in enumerate(pyramid(self.spec.size, self.spec.tile_px)):
            journal = Journal(self._scratch.journal(number)) if self.work.identity is not None else None
            self._levels += (TileStore(self._scratch.level(number), grid, self.spec.codec, journal),)

    def _claim_work(self, beside: Scratch) -> Scratch:
        parent = self.work.parent
        if parent is not None and not parent.is_dir():
            raise OutputError(f"{parent}: is no folder for work in progress; create it first")
        if parent is None or parent.samefile(self.output.parent):
            return beside
        return Scratch(self.output, parent)

    def _close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        keep = {scratch: self._keeps(scratch) for scratch in (self._scratch, self._beside)}
        with suppress(OSError):  # what is not on the disk now is done again
            for level in self._levels:
                level.close(sync=keep[self._scratch])
        for scratch, kept in keep.items():
            scratch.leave(keep=kept)

    def _keeps(self, scratch: Scratch) -> bool:
        """Whether there is work in a folder that somebody may go on from."""
        if scratch is not self._scratch or not self._taken:
            return scratch.holds_work
        begun = any(level.missing < level.grid.tiles for level in self._levels)
        unfinished = self._published_bytes is None
        return self.work.identity is not None and begun and (unfinished or self.work.keep)


def _within(outer: Box, inner: Box) -> tuple[slice, slice]:
    """Where the pixels of a box lie among those of a box around it."""
    part = inner.moved(-outer.left, -outer.top)
    return part.rows, part.columns
