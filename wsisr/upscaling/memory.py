"""Budget: what an upscaling holds in memory besides its network, and that it stays within what it may.

The pixels in flight decide it, and they depend on how the work is cut, never on how large the slide is; but for a strip
as wide as the result where tiles fade into each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from wsisr.errors import OutputError
from wsisr.imaging.tiling import TileGrid
from wsisr.parallel.cpu import cores
from wsisr.slides.region import Source
from wsisr.writing.encoding.encoder_pool import HAND_BYTES, hands_for

DEFAULT_MEMORY_GB = 2.0

GB = 1_000_000_000

FIXED = 128_000_000
"""Bytes for what does not depend on the cut: 64 MiB of the slide's decoded segments, tiles in the encoder's threads,
and the indexes of slide and store, which for a result of 100,000 px squared are 4 MB each."""

DEPTHS = (2, 1)
"""Batches that may wait between two stages; with one, a stage that is slow now and then holds up the others."""

STORING = min(2, cores())
"""Blocks that are encoded beside each other: the threads that encode one's tiles wait for its last."""


@dataclass(frozen=True, slots=True)
class Load:
    """One way to cut the work."""

    grid: TileGrid
    scale: int
    batch: int
    """Windows that go through the upscaler together."""
    depth: int
    """Batches, or blocks, that wait between two stages at most."""
    workers: int = 1
    """Batches that are enlarged beside each other at most."""
    finishers: int = 1
    """Blocks that are finished beside each other at most."""
    reading: int = 0
    """Bytes that reading a window takes besides the window, where it is resampled."""

    def reading_from(self, source: Source) -> Load:
        """The same, from pixels that may be resampled on the way."""
        return replace(self, reading=source.reading_bytes(self._window // 3))

    @property
    def beside(self) -> int:
        """Batches that are enlarged beside each other: where there is but one, it has all cores."""
        return max(1, min(self.workers, len(self.grid) // self.batch))

    @property
    def stages(self) -> dict[str, int]:
        """Bytes that each stage holds at most."""
        window = self._window
        enlarged = window * self.scale**2
        strip = 3 * self.grid.tiling.feather * self.grid.image.width * self.scale**2
        return {
            "read": self.reading + (self.depth + 1) * self.batch * window,
            "network": (self.workers + 1) * self.batch * (2 * window + enlarged),
            "finish": strip + 4 * self.finishers * enlarged,  # enlarged, background, painted, a copy for the audit
            "encode": (self.depth + self.batch + STORING) * enlarged + self._hands * HAND_BYTES + FIXED,
        }

    @property
    def bytes(self) -> int:
        return sum(self.stages.values())

    @property
    def _hands(self) -> int:
        return hands_for(self.grid.image.pixels * self.scale**2)

    @property
    def _window(self) -> int:
        """Bytes of a whole window."""
        tiling, image = self.grid.tiling, self.grid.image
        side = tiling.step + tiling.feather + 2 * tiling.margin
        wide = side + tiling.unit - 1
        return 3 * min(wide, image.width + 2 * tiling.margin) * min(side, image.height + 2 * tiling.margin)


def affordable(loads: Iterable[Load], memory_gb: float) -> Load:
    """The first that a budget has room for. Raises `OutputError` where it has none for the last."""
    for load in loads:
        if load.bytes <= memory_gb * GB:
            return load
    tiles = f"{load.batch} tiles" if load.batch > 1 else "a tile"
    raise OutputError(
        f"{tiles} of {load.grid.tiling.step} px and what waits for them take {load.bytes / GB:.2f} GB besides the "
        f"network, more than {memory_gb:g} GB; allow more (--memory), or take smaller tiles or fewer at once"
    )
