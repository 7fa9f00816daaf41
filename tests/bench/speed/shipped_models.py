"""How fast shipped models are beside each other, on one tile as `wsisr upscale` computes it, in turns.

    python -m tests.bench shipped_models [MODEL...] [--tile-px 1024] [--rounds 3] [--device auto]

`useful` leaves out what tiles that large compute twice, for they overlap by the context of the model. Speeds are
medians in output Mpx/s; `times` are medians of the ratio to the first model in the same turn.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import numpy as np

from tests.bench.result_tables import Row, report
from wsisr.imaging.pixels import RgbBatch
from wsisr.models.catalog import find_model
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Upscaler


def rate(upscaler: Upscaler, tile: RgbBatch) -> float:
    """Output Mpx/s."""
    began = time.perf_counter()
    made = upscaler(tile)
    return float(made[0, ..., 0].size / 1e6 / (time.perf_counter() - began))


def useful(upscaler: Upscaler, tile_px: int) -> float:
    """Share of a tile inside a slide that no other tile computes too."""
    return ((tile_px - 2 * upscaler.info.receptive_field) / tile_px) ** 2


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast shipped models are beside each other.")
    parser.add_argument("models", nargs="*", default=["mmsrnet-x2", "masrgan-x2-fast"])
    parser.add_argument("--tile-px", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    upscalers = [load_upscaler(name, scale=find_model(name).spec.scale, device=asked.device) for name in asked.models]
    tile = np.random.default_rng(0).integers(0, 256, (1, asked.tile_px, asked.tile_px, 3), dtype=np.uint8)
    for upscaler in upscalers:
        upscaler(tile)
    turns = [
        [rate(upscaler, tile) * useful(upscaler, asked.tile_px) for upscaler in upscalers] for _ in range(asked.rounds)
    ]
    rows: list[Row] = [
        {
            "model": upscaler.info.name,
            "context": upscaler.info.receptive_field,
            "useful": useful(upscaler, asked.tile_px),
            "Mpx/s": median(turn[number] for turn in turns),
            "times": median(turn[number] / turn[0] for turn in turns),
        }
        for number, upscaler in enumerate(upscalers)
    ]
    report(rows, asked.json)


if __name__ == "__main__":
    main()
