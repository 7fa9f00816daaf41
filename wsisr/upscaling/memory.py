"""Memory: what an upscaling holds besides its network, and which tiles keep it within a budget.

The pixels in flight decide it. They depend on how the region is cut into tiles, never on how large the slide is; but
for a strip as wide as the result where tiles fade into each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from wsisr.errors import OutputError
from wsisr.imaging.tiling import TileGrid
from wsisr.parallel.cpu import count_usable_cores
from wsisr.slides.region import SlideRegion
from wsisr.writing.encoding.encoder_pool import PROCESS_BYTES, choose_process_count

DEFAULT_MEMORY_GB = 2.0

GB = 1_000_000_000

FIXED_BYTES = 128_000_000
"""Bytes that do not depend on the tiles: 64 MiB of the slide's decoded segments, tiles in the encoder's threads, and
the indexes of slide and store, which for a result of 100,000 px squared are 4 and 7 MB."""

QUEUE_DEPTHS = (2, 1)
"""Batches that may wait between two stages; with one, a stage that is slow now and then holds up the others."""

PARALLEL_STORES = min(2, count_usable_cores())
"""Blocks that are encoded in parallel: the threads that encode the tiles of one block wait for its last tile."""


@dataclass(frozen=True, slots=True)
class WorkUnit:
    """The tiles and batches that are in work at one time."""

    grid: TileGrid
    scale: int
    batch: int
    """Tiles that go through the upscaler together."""
    queue_depth: int
    """Batches, or blocks, that wait between two stages at most."""
    max_parallel_batches: int = 1
    """Batches that are enlarged in parallel at most."""
    parallel_finishers: int = 1
    """Blocks that are finished in parallel at most."""
    resampling_bytes: int = 0
    """Bytes that reading a tile's input takes besides that input, where the slide is resampled."""

    def with_resampling(self, region: SlideRegion) -> WorkUnit:
        """Return the same work unit with the memory that resampling this region takes."""
        return replace(self, resampling_bytes=region.working_bytes(self._input_bytes // 3))

    @property
    def parallel_batches(self) -> int:
        """Batches that are enlarged in parallel; a single batch has all cores."""
        return max(1, min(self.max_parallel_batches, len(self.grid) // self.batch))

    @property
    def bytes_by_stage(self) -> dict[str, int]:
        """Bytes that each stage holds at most."""
        tile = self._input_bytes
        enlarged = tile * self.scale**2
        strip = 3 * self.grid.tiling.feather_px * self.grid.image.width * self.scale**2
        finishing = 4 * self.parallel_finishers  # enlarged, background, filled, a copy for the quality monitor
        encoding = self.queue_depth + self.batch + PARALLEL_STORES
        return {
            "read": self.resampling_bytes + (self.queue_depth + 1) * self.batch * tile,
            "network": (self.max_parallel_batches + 1) * self.batch * (2 * tile + enlarged),
            "finish": strip + finishing * enlarged,
            "encode": encoding * enlarged + self._encoder_processes * PROCESS_BYTES + FIXED_BYTES,
        }

    @property
    def total_bytes(self) -> int:
        return sum(self.bytes_by_stage.values())

    @property
    def _encoder_processes(self) -> int:
        return choose_process_count(self.grid.image.pixel_count * self.scale**2)

    @property
    def _input_bytes(self) -> int:
        """Bytes of the input of a tile that no border cuts."""
        tiling, image = self.grid.tiling, self.grid.image
        side = tiling.core_px + tiling.feather_px + 2 * tiling.halo_px
        side += tiling.cell_px - 1
        widened = side + tiling.width_multiple - 1
        return 3 * min(widened, image.width + 2 * tiling.halo_px) * min(side, image.height + 2 * tiling.halo_px)


def largest_within_budget(units: Iterable[WorkUnit], memory_gb: float) -> WorkUnit:
    """Return the first work unit that fits into the memory; give the largest first.

    Raises `OutputError` where not even the last fits.
    """
    for unit in units:
        if unit.total_bytes <= memory_gb * GB:
            return unit
    tiles = f"{unit.batch} tiles" if unit.batch > 1 else "a tile"
    raise OutputError(
        f"{tiles} of {unit.grid.tiling.core_px} px and the queues around it need {unit.total_bytes / GB:.2f} GB "
        f"besides the network, more than {memory_gb:g} GB; raise --memory, or lower --tile-px or --batch"
    )
