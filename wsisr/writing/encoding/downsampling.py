"""Makes the coarser levels of a pyramid: a coarser tile is encoded as soon as the finer tiles it shows are stored.

Each level is the 2x2 mean of the one above as it was before it was encoded, so that a lossy codec loses once on every
level and not again on each. Where the neighbours of a finer tile are still to come, its halved pixels are kept on disk:
the decoded tile could not replace them in a run that resumes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise, zip_longest
from threading import Lock

import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import Rgb
from wsisr.parallel.threads import ThreadTeam
from wsisr.writing.encoding.block import EncodedBlock
from wsisr.writing.encoding.encoder import CoarserTile, TileEncoder
from wsisr.writing.encoding.level_link import LevelLink
from wsisr.writing.workdir.byte_store import ByteStore
from wsisr.writing.workdir.tile_store import TileStore


class PyramidLevels:
    """The tile stores of all levels, the finest first, and a store of halved tiles for each level but the last.

    Memory: one byte for every four tiles. Methods raise the errors of `ByteStore`.
    """

    def __init__(self, stores: Sequence[TileStore], halved: Sequence[ByteStore]) -> None:
        self._finest = stores[0]
        pairs = zip(pairwise(stores), halved, strict=True)
        self._level_pairs = [_LevelPair(finer, coarser, halves) for (finer, coarser), halves in pairs]
        # What one pair of levels forgets may be what another pair needs.
        while any([pair.forget_unusable() for pair in self._level_pairs]):  # noqa: C419 - each pair, every time
            pass
        for pair in self._level_pairs:
            pair.count_awaited()

    def store_tiles(self, encoder: TileEncoder, tiles: Sequence[int], pixels: Sequence[Rgb]) -> None:
        """Store tiles of the finest level, and every coarser tile that they complete. Safe from any thread."""
        self._finest.write_encoded(tiles, encoder.encode_tiles(pixels))
        for level_pair in self._level_pairs:
            tiles = level_pair.store_completed(encoder, tiles)
            if not tiles:
                return

    def store_block(self, encoder: TileEncoder, tiles: Sequence[int], block: EncodedBlock) -> None:
        """Store tiles of the finest level that were encoded elsewhere, and every coarser tile that they complete.

        Coarser tiles that show more than the block are made here, from halves. Safe from any thread.
        """
        if not tiles:
            return
        self._finest.write_encoded(tiles, [block.tiles[0][tile] for tile in tiles])
        made_here: Mapping[int, int] = {}
        for level_pair, halves, coarser in zip(self._level_pairs, block.halves, block.tiles[1:], strict=True):
            tiles, made_here = level_pair.store_encoded(encoder, tiles, made_here, halves, coarser)
            if not tiles:
                return

    def complete_levels(
        self, threads: ThreadTeam, borrow_encoder: Callable[[], AbstractContextManager[TileEncoder]]
    ) -> Iterator[int]:
        """Make the coarser tiles that an earlier run left out; yields, row by row, how many coarser tiles there are."""
        done = 0
        for pair, next_pair in zip_longest(self._level_pairs, self._level_pairs[1:]):

            def store_tile(tile: int, pair: _LevelPair = pair, next_pair: _LevelPair | None = next_pair) -> None:
                with borrow_encoder() as encoder:
                    pair.store_coarser(encoder, [tile], {})
                    if next_pair:
                        next_pair.keep_halves(encoder, {tile: 0})

            for row in pair.coarser.grid.iterate_rows():
                threads.for_each(store_tile, pair.coarser.select_missing(row))
                done += len(row)
                yield done


class _LevelPair:
    """Two neighbouring levels, and how many finer tiles each coarser one still waits for."""

    def __init__(self, finer: TileStore, coarser: TileStore, halved: ByteStore) -> None:
        self.finer, self.coarser, self.halved = finer, coarser, halved
        self._link = LevelLink(finer.grid, coarser.grid)
        self._lock = Lock()

    def forget_unusable(self) -> bool:
        """Forget tiles of an earlier run that this one cannot go on from; return whether there were any.

        A kill or a power cut may have left a coarser tile or a half, but not the finer tiles it was made from, which
        may differ next time; or a finer tile, but nothing of it that its coarser tile could be made from.
        """
        made, halves = self.finer.from_earlier_run, self.halved.from_earlier_run
        shown = np.repeat(np.repeat(self._reshape_coarser(self.coarser.from_earlier_run), 2, axis=0), 2, axis=1)
        is_shown = shown[: self.finer.grid.rows, : self.finer.grid.columns].ravel()
        unusable = [
            (self.coarser, self.coarser.from_earlier_run & (self._count_missing() > 0)),
            (self.halved, halves & ~made),
            (self.finer, made & ~halves & ~is_shown),
        ]
        for store, flags in unusable:
            store.forget_tiles(np.flatnonzero(flags))
        return any(flags.any() for _, flags in unusable)

    def count_awaited(self) -> None:
        """Count the finer tiles that each coarser one waits for in this run."""
        self._awaited = self._count_missing()

    def store_completed(self, encoder: TileEncoder, finer: Sequence[int]) -> list[int]:
        """Make and store the coarser tiles that these finer ones complete, and return them.

        The finer ones are stored, and are those that the encoder encoded last, in their order. Halves of those that
        complete nothing are kept, before others may count on them.
        """
        index_of = {tile: index for index, tile in enumerate(finer)}
        completed = self._count_down(finer, only_last=True)
        pending = {tile: index for tile, index in index_of.items() if self._link.find_coarser(tile) not in completed}
        if pending:
            self.keep_halves(encoder, pending)
            completed += self._count_down(list(pending))
        if completed:
            self.store_coarser(encoder, completed, index_of)
        return completed

    def store_encoded(
        self,
        encoder: TileEncoder,
        finer: Sequence[int],
        made_here: Mapping[int, int],
        halves: Mapping[int, bytes],
        coarser: Mapping[int, bytes],
    ) -> tuple[list[int], dict[int, int]]:
        """Store the coarser tiles that these finer ones complete, which are stored.

        `halves` and `coarser` were encoded elsewhere, by number; of the finer tiles in `made_here`, the encoder encoded
        these last. Returns the coarser tiles that are complete, and the indices of those that the encoder encoded now.
        """
        sent_halves = [tile for tile in finer if tile in halves]
        if sent_halves:
            self.halved.write_encoded(sent_halves, [halves[tile] for tile in sent_halves])
        if made_here:
            self.keep_halves(encoder, made_here)
        completed = self._count_down(finer)
        sent = [tile for tile in completed if tile in coarser]
        if sent:
            self.coarser.write_encoded(sent, [coarser[tile] for tile in sent])
        others = [tile for tile in completed if tile not in coarser]
        if others:
            self.store_coarser(encoder, others, {})
        return completed, {tile: index for index, tile in enumerate(others)}

    def keep_halves(self, encoder: TileEncoder, index_of: Mapping[int, int]) -> None:
        """Store the halved pixels of finer tiles; given by their index among those that the encoder encoded last."""
        self.halved.write_encoded(list(index_of), encoder.halve_tiles(list(index_of.values())))

    def store_coarser(self, encoder: TileEncoder, tiles: Sequence[int], index_of: Mapping[int, int]) -> None:
        """Make and store coarser tiles.

        `index_of` are the finer tiles that the encoder encoded last; halves of the others are read.
        """
        coarser = (self._describe_coarser(tile, index_of) for tile in tiles)
        self.coarser.write_encoded(tiles, encoder.encode_coarser(coarser))

    def _count_down(self, finer: Sequence[int], *, only_last: bool = False) -> list[int]:
        """Count finer tiles as ready, each once, and return the coarser tiles that wait for none any more.

        With `only_last`, only those are counted after which a coarser tile waits for none.
        """
        completed = []
        with self._lock:
            for tile, count in Counter(map(self._link.find_coarser, finer)).items():
                is_last = self._awaited[tile] == count
                if is_last or not only_last:
                    self._awaited[tile] -= count
                if is_last:
                    completed.append(tile)
        return completed

    def _describe_coarser(self, tile: int, index_of: Mapping[int, int]) -> CoarserTile:
        def find_halved(finer_tile: int) -> bytes | int:
            return index_of[finer_tile] if finer_tile in index_of else self.halved.read_encoded(finer_tile)

        return self._link.describe_coarser(tile, find_halved)

    def _count_missing(self) -> npt.NDArray[np.uint8]:
        """Return, for each coarser tile, how many of its finer tiles no earlier run made."""
        grid = self.finer.grid
        flags = ~self.finer.from_earlier_run.reshape(grid.rows, grid.columns)
        even = np.pad(flags, ((0, grid.rows % 2), (0, grid.columns % 2))).astype(np.uint8)
        return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]).ravel()

    def _reshape_coarser(self, flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        return flags.reshape(self.coarser.grid.rows, self.coarser.grid.columns)
