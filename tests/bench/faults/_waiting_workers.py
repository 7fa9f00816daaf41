"""Workers of Dask without a network: `python -m tests.bench.faults._waiting_workers ADDRESS COUNT (--wait | --fake) N`.

One process loads the program and forks the workers, so that many of them need little memory and start at once. Each
is a worker of one thread in a process of its own, with its own connections.

With `--wait` the network waits so many seconds for each tile, and enlarges it by bicubic; all else is real. With
`--fake` nothing is computed but the first tile: its encoded tiles, made N bytes long, are sent back for all others. So
the client and the scheduler can be measured alone.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

import distributed
import numpy as np

from wsisr.cluster import worker
from wsisr.imaging.pixels import Rgb, RgbBatch, halve_image
from wsisr.imaging.tiling import Tile
from wsisr.models import loading
from wsisr.models.upscaler import Resampling, Upscaler
from wsisr.upscaling import engine
from wsisr.upscaling.engine import FinishedBlock
from wsisr.upscaling.plan import UpscalePlan
from wsisr.writing.encoding.encoder import LocalEncoder


class WaitingUpscaler(Resampling):
    """Bicubic, after a wait for each tile."""

    seconds = 0.0

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        time.sleep(self.seconds * len(tiles))
        return super().__call__(tiles)


class RepeatingEncoder(LocalEncoder):
    """An encoder that returns what it made of the first tile of each size."""

    nbytes = 0
    _made: ClassVar[dict[tuple[int, ...], tuple[bytes, Rgb]]] = {}

    def encode_tiles(self, tiles: Iterable[Rgb]) -> list[bytes]:
        made = [self._repeat(tile) for tile in tiles]
        self._halved = [halved for _, halved in made]
        return [encoded for encoded, _ in made]

    def _repeat(self, tile: Rgb) -> tuple[bytes, Rgb]:
        if tile.shape not in self._made:
            pixels = np.ascontiguousarray(tile)
            encoded = self.codec.encode(pixels, self.tile_px)
            self._made[tile.shape] = encoded.ljust(self.nbytes, bytes(1)), halve_image(pixels)
        return self._made[tile.shape]


def fake_blocks(
    first: FinishedBlock, plan: UpscalePlan, batches: Iterable[list[Tile]]
) -> Generator[FinishedBlock, None, None]:
    """Yield a block for each tile, with the quality of the first and pixels that take no memory."""
    for batch in batches:
        for tile in batch:
            box = tile.core * plan.scale
            pixels = np.broadcast_to(first.pixels[:1, :1], (box.height, box.width, 3))
            yield FinishedBlock(tile, box, pixels, first.quality)


def finish_first_block(plan: UpscalePlan, batches: Sequence[list[Tile]]) -> Generator[FinishedBlock, None, None]:
    """Take the place of `finish_blocks` for the first task; all later ones repeat its first block."""
    first = next(engine.finish_blocks(plan, batches[:1]))
    vars(worker).update(finish_blocks=partial(fake_blocks, first))
    yield from fake_blocks(first, plan, batches)


def load_bicubic(*_: Any, scale: int, **__: Any) -> Upscaler:
    """Take the place of `load_upscaler`."""
    return WaitingUpscaler("bicubic", scale)


async def serve(address: str) -> None:
    """Be a worker until the scheduler ends."""
    async with distributed.Worker(address, nthreads=1, memory_limit=0, dashboard=False) as served:
        await served.finished()


def main() -> None:
    address, count, way, number = sys.argv[1:]
    loading.load_upscaler = load_bicubic
    if way == "--fake":
        RepeatingEncoder.nbytes = int(number)
        vars(worker).update(LocalEncoder=RepeatingEncoder, finish_blocks=finish_first_block)
    else:
        WaitingUpscaler.seconds = float(number)
    for _ in range(int(count)):
        if os.fork() == 0:
            asyncio.run(serve(address))
            os._exit(0)
    for _ in range(int(count)):
        os.wait()


if __name__ == "__main__":
    main()
