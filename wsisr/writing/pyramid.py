"""Writing a pyramid from level-0 pixels that arrive box by box, in any order; memory does not grow with the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import numpy as np

from wsisr.errors import OutputError
from wsisr.files import bytes_of, check_output, disk_errors, publish, remove
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.parallel.threads import Crew
from wsisr.progress import Progress
from wsisr.writing.encoding.downsampling import Levels
from wsisr.writing.encoding.encoder import Coder, Local
from wsisr.writing.encoding.encoder_pool import SIDE, Hands, hands_for, hired
from wsisr.writing.encoding.grid import pyramid
from wsisr.writing.layouts.catalog import layout_of
from wsisr.writing.spec import PyramidSpec
from wsisr.writing.workdir.folder import Identity, Scratch
from wsisr.writing.workdir.run_log import Diary
from wsisr.writing.workdir.tile_journal import Journal
from wsisr.writing.workdir.tile_store import TileStore

Check: TypeAlias = Callable[[Path, PyramidSpec], str | None]
"""A finished file and what it was meant to be, to what is wrong with it in words; None for nothing."""


@dataclass(frozen=True, slots=True)
class WorkFolder:
    """Where finished tiles lie until the file is assembled from them, and for whom. Raises `OutputError` for none."""

    identity: Identity | None = None
    """Of the run that may go on there after it was stopped; None for none."""
    parent: Path | None = None
    """Beside the output by default."""
    keep: bool = False
    """Leave it even where the file is finished; it can be made again from it."""

    def __post_init__(self) -> None:
        if self.parent is not None and not self.parent.is_dir():
            raise OutputError(f"{self.parent}: no folder for work in progress; create it first")

    def sweep(self, output: Path) -> None:
        """Remove what a run left that was killed once its result had its name; nothing of any other run."""
        for parent in {output.parent, self.parent or output.parent}:
            left = Scratch.left(output, parent)
            if left is not None and left == self.identity and not self.keep:
                with disk_errors(self.parent or output):
                    Scratch(output, parent).leave(keep=False)


class PyramidWriter:
    """A pyramid in the making, as a context.

    Everything lies in a folder of its own until the file is whole. Leaving before `finish` ended leaves nothing behind;
    with an `Identity` of the run, finished tiles stay, and a writer of the same identity goes on from them.
    Memory: the pixels that `write` is given, about eight tiles per thread, or 20 MB for each of the processes (`hands`)
    that code tiles instead where there are many cores and much to do; and 17 bytes for each tile of the pyramid.
    """

    def __init__(
        self,
        output: Path,
        spec: PyramidSpec,
        work: WorkFolder | None = None,
        *,
        overwrite: bool = False,
        hands: int | None = None,
    ) -> None:
        self.output = output
        self.spec = spec
        self.work = work or WorkFolder()
        self.overwrite = overwrite
        self._taken = False
        self._hands: Hands | None = None
        self._count = hands_for(spec.size.pixels) if hands is None else hands
        self._crew = Crew(16, "wsisr-encode")
        self._layout = layout_of(output, spec.layout)
        self._layout.check(spec.codec)
        self._stores: tuple[TileStore, ...] = ()
        self._published_bytes: int | None = None
        self._diary: Diary | None = None

    def __enter__(self) -> Self:
        """Claim the output and take up what is there of this run.

        Raises `OutputError` where it exists, cannot be written, another run is at it, or another's work lies there.
        """
        check_output(self.output, overwrite=self.overwrite, marker=self._layout.marker)
        with disk_errors(self._workplace):
            self._scratch = self._beside = Scratch(self.output)
            try:
                self._scratch = self._claim_work(self._beside)
                self._scratch.take_up(self.work.identity, restart=self.overwrite)
                self._taken = True
                self._levels = self._opened_levels()
                self._hands = hired(self.spec.codec, self.spec.tile_px, self._count)
            except (OSError, OutputError):
                self._close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def _workplace(self) -> Path:
        """What to name where the disk refuses the work: its folder elsewhere, or the output it lies beside."""
        return self.work.parent or self.output

    @property
    def bytes_written(self) -> int:
        """Encoded bytes so far; the size of the result once it is finished."""
        return self._published_bytes or sum(level.nbytes for level in self._stores)

    @property
    def diary(self) -> Diary:
        """What is found out besides pixels; that of an earlier run is there. Within the context only."""
        assert self._diary is not None
        return self._diary

    def holds(self, box: Box) -> bool:
        """Whether an earlier run finished all tiles of a box in level-0 px."""
        base = self._stores[0]
        return all(base.found[tile] for tile in base.grid.touching(box))

    def write(self, box: Box, pixels: Rgb) -> None:
        """Encode and store (h, w, 3) sRGB of a box in level-0 px: whole tiles, each once. Safe from several threads.

        With them, the tiles of other levels that they complete. Tiles that an earlier run finished stay as they are.
        Raises `OutputError` where the disk refuses, `ValueError` where box or pixels break these rules.
        """
        base = self._stores[0]
        if pixels.shape != (box.height, box.width, 3) or pixels.dtype != np.uint8:
            raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}, not uint8 ({box.height}, {box.width}, 3)")
        if not base.grid.holds_whole_tiles(box):
            raise ValueError(f"{box} is not made of whole tiles of {base.grid.tile_px} px in {base.grid.size}")
        missing = (tile for tile in base.grid.touching(box) if not base.found[tile])
        with disk_errors(self._workplace):
            squares = base.grid.squares(missing, SIDE)
            self._crew.each(lambda tiles: self._put(tiles, box, pixels), squares)

    def annotate(self, note: Mapping[str, str]) -> None:
        """Add to the file's note what became known on the way; before `finish`."""
        self.spec = replace(self.spec, note={**self.spec.note, **note})

    def finish(self, check: Check | None = None) -> Iterator[Progress]:
        """Build what is missing of other levels, assemble the file, check it, name it; done when the iterator ends.

        Yields `pyramid`, then `assemble`, in tiles. Raises `OutputError` where the disk refuses, the check finds
        something wrong, or the name is taken by now, `ValueError` where level 0 is incomplete.
        """
        if self._stores[0].missing:
            raise ValueError(f"{self._stores[0].missing} tiles of level 0 were never written")
        with disk_errors(self.output):
            yield from self._fill_levels()
            yield from self._assemble()
            self._refuse(check(self._beside.image, self.spec) if check else None)
            size = bytes_of(self._beside.image)
            publish(self._beside.image, self.output, overwrite=self.overwrite)
            self._published_bytes = size

    def _fill_levels(self) -> Iterator[Progress]:
        total = sum(store.grid.tiles for store in self._stores[1:])
        return (Progress("pyramid", done, total) for done in self._levels.fill(self._crew, self._coder))

    def _put(self, tiles: Sequence[int], box: Box, pixels: Rgb) -> None:
        parts = (self._stores[0].grid.box(tile).seen_from(box) for tile in tiles)
        with self._coder() as coder:
            self._levels.put(coder, tiles, [pixels[part.rows, part.columns] for part in parts])

    def _coder(self) -> AbstractContextManager[Coder]:
        return self._hands.one() if self._hands else nullcontext(Local(self.spec.codec, self.spec.tile_px))

    def _assemble(self) -> Iterator[Progress]:
        total = sum(level.grid.tiles for level in self._stores)
        remove(self._beside.image)  # what a run left that was killed while it assembled
        for done in self._layout.assemble(self._beside.image, self._stores, self.spec):
            yield Progress("assemble", done, total)

    def _refuse(self, wrong: str | None) -> None:
        if wrong is not None:
            raise OutputError(
                f"{self.output}: does not read back as it should ({wrong}) and did not get its name; repeat the command"
                ", which looks at all finished tiles again, or leave the check out with --no-verify"
            )

    def _opened_levels(self) -> Levels:
        self._diary = Diary(self._scratch.diary, self.output)
        for number, grid in enumerate(pyramid(self.spec.size, self.spec.tile_px)):
            journal = Journal(self._scratch.journal(number)) if self.work.identity is not None else None
            self._stores += (TileStore(self._scratch.level(number), grid, self.spec.codec, journal),)
        return Levels(self._stores)

    def _claim_work(self, beside: Scratch) -> Scratch:
        parent = self.work.parent
        return beside if parent is None or parent.samefile(self.output.parent) else Scratch(self.output, parent)

    def _close(self) -> None:
        self._crew.close()
        if self._hands:
            self._hands.close()
        keep = {scratch: self._keeps(scratch) for scratch in (self._scratch, self._beside)}
        if self._diary:
            self._diary.close()
        with suppress(OSError):  # what is not on the disk now is done again
            for level in self._stores:
                level.close(sync=keep[self._scratch])
        for scratch, kept in keep.items():
            scratch.leave(keep=kept)

    def _keeps(self, scratch: Scratch) -> bool:
        """Whether there is work in a folder that somebody may go on from."""
        if scratch is not self._scratch or not self._taken:
            return scratch.holds_work
        begun = any(level.missing < level.grid.tiles for level in self._stores)
        unfinished = self._published_bytes is None
        return self.work.identity is not None and begun and (unfinished or self.work.keep)
