"""The network alone on one device, its pixels there already: `python -m tests.bench gpu [--device cuda] [--json FILE]`.

Output Mpx/s at x2, with mix-attention and without, by size, precision and how planes and channels lie in memory, and as
torch.compile makes it; then training steps/s by size and batch. What `wsisr upscale` adds to it is measured by
`tests.bench efficiency`. Weights are random: the arithmetic is the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import torch
from torch import nn

from tests.bench.result_tables import Row, report
from wsisr.models.backends.device import select_device
from wsisr.models.spec import ModelSpec
from wsisr.models.weights import build_network

NETWORKS = {
    "masrgan 48 x 8": ("masrgan", 48, 8),
    "without attention 48 x 8": ("masrgan-none", 48, 8),
    "without attention 96 x 12": ("masrgan-none", 96, 12),
}
"""Family, channels and blocks."""

LAYOUTS = {"planes": torch.contiguous_format, "channels last": torch.channels_last}
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
SCALE, TRAINED_PX = 2, 48


def network(name: str, device: torch.device) -> nn.Module:
    family, channels, blocks = NETWORKS[name]
    torch.manual_seed(0)
    return build_network(ModelSpec(family, SCALE, channels, blocks, 9, (0.5, 4.0))).to(device).eval()


def seconds(work: Callable[[], object], device: torch.device, times: int) -> float:
    """Of one time, without the first two, which look for kernels."""
    for count in (2, times):
        began = time.perf_counter()
        for _ in range(count):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return (time.perf_counter() - began) / times


@torch.inference_mode()
def enlarging(name: str, precision: str, layout: str, side: int, device: torch.device, *, compiled: bool) -> Row:
    trunk = network(name, device)
    run = torch.compile(trunk) if compiled else trunk
    pixels = torch.rand(1, 3, side, side, device=device).contiguous(memory_format=LAYOUTS[layout])
    with torch.autocast(device.type, DTYPES[precision]):
        spent = seconds(lambda: run(pixels), device, 5)
    return {
        "network": name,
        "precision": precision,
        "layout": layout + ", compiled" * compiled,
        "tile px": side,
        "Mpx/s": (SCALE * side) ** 2 / 1e6 / spent,
    }


def training(name: str, batch: int, device: torch.device) -> Row:
    trunk = network(name, device).train()
    optimiser = torch.optim.AdamW(trunk.parameters(), 1e-4)
    low = torch.rand(batch, 3, TRAINED_PX, TRAINED_PX, device=device).contiguous(memory_format=torch.channels_last)
    high = torch.rand(batch, 3, SCALE * TRAINED_PX, SCALE * TRAINED_PX, device=device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            loss = (trunk(low) - high).abs().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return {"network": name, "batch": batch, "steps/s": 1 / seconds(step, device, 20)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiles", type=int, nargs="+", default=[1024, 2048])
    parser.add_argument("--batches", type=int, nargs="*", default=[16, 64])
    parser.add_argument("--compiled", nargs="*", default=list(NETWORKS)[:2], help="networks that are also compiled")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    device = select_device(asked.device)
    cases = product(NETWORKS, DTYPES if device.type == "cuda" else ["bf16"], LAYOUTS, asked.tiles)
    rows = [enlarging(*case, device, compiled=False) for case in cases]
    rows += [
        enlarging(name, "bf16", layout, asked.tiles[-1], device, compiled=True)
        for name, layout in product(asked.compiled, LAYOUTS)
    ]
    trained = [training(name, batch, device) for name, batch in product(NETWORKS, asked.batches)]
    report(rows, asked.json, device=str(device))
    if trained:
        report(trained, asked.json and asked.json.with_suffix(".training.json"), device=str(device))


if __name__ == "__main__":
    main()
