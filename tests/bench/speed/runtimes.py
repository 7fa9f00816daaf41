"""Output Mpx/s of a network by runtime, precision and tile: `python -m tests.bench runtimes [MODEL.onnx] [options]`.

Runtimes and tiles take turns within each round, and the best round of each counts, so that what else the machine does
weighs on all alike. Prints a table, and JSON with --json. `--tiles 1024 1042 1060 1072` shows what the width of a tile
does beside its size.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from wsisr.errors import WsisrError
from wsisr.models.catalog import find_model
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Upscaler


def candidates(model: str, onnx: Path | None, device: str) -> dict[str, Upscaler]:
    """Every runtime that there is here, by name."""
    scale, found = find_model(model).spec.scale, {}
    for precision in ("fp32", "bf16", "fp16"):
        try:
            found[f"torch {precision}"] = load_upscaler(model, scale=scale, device=device, precision=precision)
        except WsisrError as error:
            print(f"torch {precision}: {error}")  # noqa: T201
    if onnx is not None:
        found["onnxruntime"] = load_upscaler(onnx, scale=scale, device=device)
    return found


def rates(upscalers: dict[str, Upscaler], tiles: list[int], rounds: int) -> dict[int, dict[str, float]]:
    """Output Mpx/s of each on one window of each side; the first call of each is not timed."""
    draw = np.random.default_rng(0)
    windows = {side: draw.integers(0, 256, (1, side, side, 3), dtype=np.uint8) for side in tiles}
    best = {side: dict.fromkeys(upscalers, 0.0) for side in tiles}
    for number in range(rounds + 1):
        for side, window in windows.items():
            for name, upscaler in upscalers.items():
                began = time.perf_counter()
                pixels = upscaler(window).size / 3e6
                if number:
                    best[side][name] = max(best[side][name], pixels / (time.perf_counter() - began))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("onnx", nargs="?", type=Path, help="the same model as written by wsisr export")
    parser.add_argument("--model", default="mmsrnet-x2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tiles", type=int, nargs="+", default=[256, 512, 768, 1024])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    upscalers = candidates(asked.model, asked.onnx, asked.device)
    table = rates(upscalers, asked.tiles, asked.rounds)
    for tile, row in table.items():
        print(f"{tile:>5} px  " + "  ".join(f"{name} {rate:.3f}" for name, rate in row.items()))  # noqa: T201
    if asked.json:
        asked.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
