"""Batches: tiles of a plan that go through the network together, always the same ones however a run is divided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from wsisr.imaging.geometry import Box
from wsisr.imaging.tiling import Tile
from wsisr.upscaling.plan import UpscalePlan


def missing_batches(plan: UpscalePlan, is_stored: Callable[[Box], bool]) -> Iterator[list[Tile]]:
    """Yield the batches that must be computed where some blocks are stored; `is_stored` takes boxes in output px.

    A batch is computed whole, for a network may round a batch of another size otherwise. Where tiles feather, so are
    the batches of the tiles that fade into a missing block.
    """
    reach = range(2 if plan.grid.tiling.feather_px else 1)

    def is_needed(tile: Tile) -> bool:
        columns = (tile.column + step for step in reach if tile.column + step < plan.grid.columns)
        rows = [tile.row + step for step in reach if tile.row + step < plan.grid.rows]
        cores = (plan.grid.tile_at(column, row).core for column in columns for row in rows)
        return not all(is_stored(core * plan.scale) for core in cores)

    return (batch for batch in tile_batches(plan) if any(map(is_needed, batch)))


def tile_batches(plan: UpscalePlan) -> Iterator[list[Tile]]:
    """Yield all tiles in batches; those of a batch either all hold tissue or all hold none."""
    mask = plan.background
    return group_batches(plan.grid, plan.work_unit.batch, lambda tile: bool(mask.tissue_in(tile.blend_box).any()))


def group_batches(tiles: Iterable[Tile], largest: int, kind: Callable[[Tile], bool] = bool) -> Iterator[list[Tile]]:
    """Yield neighbouring tiles of one kind whose input boxes have one size, in batches of at most `largest`."""
    for _, group in groupby(tiles, key=lambda tile: (tile.input_box.size, kind(tile))):
        neighbours = list(group)
        for start in range(0, len(neighbours), largest):
            yield neighbours[start : start + largest]
