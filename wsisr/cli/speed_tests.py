"""Speed tests of `wsisr doctor`: the disk, and the default network."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

DISK_TEST_BYTES = 2**26

TEST_S = 10.0
"""Seconds that the network is tested for."""

TILE_PX = 512
"""Side of the tile that the network enlarges, in input px."""

TYPICAL_SIDE_PX, TYPICAL_TISSUE = 30_000, 0.4
"""A slide of 15 mm squared scanned at 20x (0.5 um/px), and the share of it that is tissue."""


def measure_disk(folder: Path) -> dict[str, Any]:
    """Return the speed of writing 64 MiB to the disk and reading them back, in bytes a second.

    The file has no name. Reading bypasses the system's cache where the system allows to drop it. Raises `OSError`.
    """
    data = os.urandom(2**20)
    with tempfile.TemporaryFile(dir=folder) as file:
        began = time.perf_counter()
        for _ in range(DISK_TEST_BYTES // len(data)):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
        write_s = time.perf_counter() - began
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        began = time.perf_counter()
        while file.read(2**20):
            pass
        read_s = time.perf_counter() - began
    return {"write": round(DISK_TEST_BYTES / write_s), "read": round(DISK_TEST_BYTES / read_s)}


def measure_network(seconds: float = TEST_S) -> dict[str, Any]:
    """Return how fast the default network enlarges twice on the default device, and what a typical slide would take.

    On a CPU the processor's time counts, as in a dry run: that of an otherwise idle machine.
    """
    import numpy as np

    from wsisr.models.loading import load_upscaler
    from wsisr.parallel.cpu import count_usable_cores

    upscaler = load_upscaler(scale=2, mpp=0.5)
    tile = np.random.default_rng(0).integers(0, 256, (1, TILE_PX, TILE_PX, 3), dtype=np.uint8)
    upscaler(tile)
    clock, cores = (time.perf_counter, 1) if upscaler.info.on_gpu else (time.process_time, count_usable_cores())
    end, began, tiles = time.perf_counter() + seconds, clock(), 0
    while tiles == 0 or time.perf_counter() < end:
        upscaler(tile)
        tiles += 1
    pace = (clock() - began) / cores / (tiles * TILE_PX**2)
    return {
        "model": upscaler.info.name,
        "hardware": upscaler.info.hardware,
        "output_pixels_per_second": round(4 / pace),
        "typical_slide_seconds": round(pace * TYPICAL_SIDE_PX**2 * TYPICAL_TISSUE),
    }
