"""Tasks: every batch once, of one kind, as long as the target allows, and so few that all threads end together."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from wsisr.cluster.task_sizes import MOST_TASK_BYTES, TARGET_S, BatchQueue, TaskSizes
from wsisr.imaging.geometry import Size
from wsisr.imaging.tiling import Tile, TileGrid, Tiling


@settings(max_examples=30)
@given(
    kinds=st.lists(st.booleans(), min_size=1, max_size=60),
    threads=st.integers(1, 20),
    seconds=st.floats(0.01, 60),
    nbytes=st.integers(1, 10**8),
)
def test_tasks_take_every_batch_once_within_their_limits(
    kinds: list[bool], threads: int, seconds: float, nbytes: int
) -> None:
    tiles = list(TileGrid(Size(len(kinds) * 8, 8), Tiling(8, halo_px=1)))
    queue, sizes = BatchQueue((kind, [tile]) for kind, tile in zip(kinds, tiles, strict=True)), TaskSizes()
    taken: list[Tile] = []
    while queue:
        known = bool(taken)
        has_tissue, batches = queue.take(sizes, threads)
        assert {kinds[tile.column] for batch in batches for tile in batch} == {has_tissue}
        assert len(batches) == 1 or (
            known and len(batches) * seconds <= TARGET_S * 1.01 and len(batches) * nbytes <= MOST_TASK_BYTES * 1.01
        )
        assert len(batches) <= max(1, len(kinds) // (3 * threads))
        taken += [tile for batch in batches for tile in batch]
        sizes.add(has_tissue, len(batches), seconds * len(batches), nbytes * len(batches))
    assert sorted(taken, key=lambda tile: tile.column) == tiles
