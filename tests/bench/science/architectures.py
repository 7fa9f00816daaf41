"""Networks of about 0.4 M parameters side by side: `python -m tests.bench architectures DATASET --steps 600 --seeds 2`.

The same data, crops, steps and schedule for each, and the last weights of each run, averaged over its end. Scored on
the validation patches of the dataset (held-out slides): input by area mean and by Pillow's bicubic, PSNR and SSIM of a
slide from all of its patches together, then the mean over slides and kernels. Runs are kept in --runs: what was
stopped goes on, what is finished is not trained again. With --minutes, training stops after that time and the table
holds what is finished; the same command goes on.

consistency: mean difference in grey levels between the output, averaged back, and the input.
tiling: largest difference in grey levels between tiles of 128 and of 512 px; 0 or 1 for what is local.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from statistics import mean, pstdev

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.support.samples import enlarged
from wsisr.dataset.reader import PatchStore
from wsisr.imaging.metrics import BORDER_PX, psnr_of, squared_error, ssim
from wsisr.imaging.pixels import Kernel, Rgb, shrink
from wsisr.models.back_projection import BackProjection
from wsisr.models.loading import load_upscaler
from wsisr.models.spec import ModelSpec
from wsisr.models.upscaler import Resampling, Upscaler
from wsisr.models.weights import build
from wsisr.training.config import DataConfig, NetworkConfig, ScheduleConfig, TrainConfig
from wsisr.training.loop import LAST, Run, trainable
from wsisr.training.validation import Validation
from wsisr.upscaling.plan import Options

KERNELS: tuple[Kernel, ...] = ("area", "bicubic")

NETWORKS = {
    "SRResNet": ("srresnet", 50, 8),
    "EDSR": ("edsr", 50, 8),
    "RCAN-small": ("rcan", 48, 8),
    "SPAN": ("span", 48, 6),
    "MASRGAN, no attention": ("masrgan-none", 52, 8),
    "MASRGAN, channel": ("masrgan-channel", 50, 8),
    "MASRGAN, spatial": ("masrgan-spatial", 50, 8),
    "MASRGAN, sequential": ("masrgan-sequential", 48, 8),
    "MASRGAN, parallel": ("masrgan", 48, 8),
}
"""Name to family, channels and blocks."""


@dataclass(frozen=True, slots=True)
class Scores:
    psnr: float
    ssim: float
    consistency: float


@dataclass(frozen=True, slots=True)
class Row:
    """One network over its seeds; spreads are standard deviations."""

    name: str
    runs: int
    psnr: float
    psnr_spread: float
    ssim: float
    ssim_spread: float
    consistency: float
    parameters: int = 0
    kflops: float = 0.0
    """Thousand floating-point operations for a pixel of the output."""
    mpx: float = 0.0
    """Million output pixels a second, tiles of 256 px, the best of three."""
    tiling: int = 0


@dataclass(frozen=True)
class Asked:
    """What is trained, on what, for how long."""

    dataset: Path
    runs: Path
    scale: int
    steps: int
    seeds: int
    patch_px: int
    batch: int

    @cached_property
    def validation(self) -> Validation:
        return Validation(PatchStore(self.dataset), self.scale)


class Bench(Asked):
    """Each network with the same training."""

    def config(self, name: str, seed: int) -> TrainConfig:
        family, channels, blocks = NETWORKS[name]
        shape = NetworkConfig(self.scale, family, channels, blocks)
        warm_up = max(1, self.steps // 20)
        ema = max(0.9, 1 - 20 / self.steps)  # over the last twentieth of the run
        schedule = ScheduleConfig(self.steps, warm_up=warm_up, ema=ema, validate_every=self.steps, save_every=100)
        data = DataConfig(self.dataset, self.patch_px, self.batch, {"area": 0.5, "bicubic": 0.5})
        return TrainConfig(shape, data, schedule, seed=seed)

    def folder(self, name: str, seed: int) -> Path:
        words = name.lower().replace(", ", "-").replace(" ", "-")
        return self.runs / f"x{self.scale}-{self.steps}-{words}-{seed}"

    def scores(self, upscaler: Upscaler) -> Scores:
        found = [
            self._scores(upscaler, highs, kernel) for highs in self.validation.slides.values() for kernel in KERNELS
        ]
        return Scores(*(float(mean(values)) for values in zip(*found, strict=True)))

    def _scores(self, upscaler: Upscaler, highs: list[Rgb], kernel: Kernel) -> tuple[float, float, float]:
        lows = [shrink(high, self.scale, kernel) for high in highs]
        made = [upscaler(low[None].copy())[0] for low in lows]
        pairs = [(inner(one), inner(high)) for one, high in zip(made, highs, strict=True)]
        back = [shrink(one, self.scale, "area").astype(float) for one in made]
        apart = mean(float(np.abs(one - low).mean()) for one, low in zip(back, lows, strict=True))
        return psnr_of(mean(squared_error(*pair) for pair in pairs)), mean(ssim(*pair) for pair in pairs), apart


def inner(image: Rgb) -> Rgb:
    return np.ascontiguousarray(image[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX])


def train(bench: Bench, name: str, seed: int, until: float) -> bool:
    """Whether the run is finished; stops, with all kept, when the time is over."""
    run = Run(bench.config(name, seed), bench.folder(name, seed), torch.device("cpu"))
    if time.monotonic() < until:
        for _ in run:
            if time.monotonic() > until:
                run.save()
                break
    return run.step == bench.steps


def row_of(bench: Bench, name: str, seeds: Iterable[int]) -> Row:
    paths = [bench.folder(name, seed) / LAST for seed in seeds]
    upscalers = [load_upscaler(path, scale=bench.scale, device="cpu") for path in paths]
    found = [bench.scores(upscaler) for upscaler in upscalers]
    weights = upscalers[0].weights
    assert weights is not None
    assert weights.spec is not None
    network = build(weights.spec)
    return Row(
        name,
        len(found),
        *moments([each.psnr for each in found]),
        *moments([each.ssim for each in found]),
        mean(each.consistency for each in found),
        trainable(network),
        kflops(weights.spec),
        tiling=tiling(bench, upscalers[0]),
    )


def filter_row(bench: Bench, upscaler: Upscaler) -> Row:
    found = bench.scores(upscaler)
    return Row(upscaler.name, 1, found.psnr, 0.0, found.ssim, 0.0, found.consistency)


def moments(values: list[float]) -> tuple[float, float]:
    return mean(values), pstdev(values)


def kflops(spec: ModelSpec) -> float:
    network, side = build(spec), 64
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, side, side))
    return int(counter.get_total_flops()) / (side * spec.scale) ** 2 / 1e3


def tiling(bench: Bench, upscaler: Upscaler) -> int:
    """On two patches beside each other, 512 x 256 px where patches have 256 px."""
    highs = [high for found in bench.validation.slides.values() for high in found]
    mosaic = np.concatenate([highs[0], highs[-1]], axis=1)
    small, large = (enlarged(mosaic, upscaler, Options(tile_px=side)) for side in (128, 512))
    return int(np.abs(small.astype(np.int16) - large).max())


def rates(upscalers: dict[str, Upscaler]) -> dict[str, float]:
    """Output Mpx/s of each; they take turns, so that what else the machine does weighs on all alike."""
    window = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    best = dict.fromkeys(upscalers, 0.0)
    for number in range(4):
        for name, upscaler in upscalers.items():
            began = time.perf_counter()
            pixels = upscaler(window).size / 3e6
            if number:
                best[name] = max(best[name], pixels / (time.perf_counter() - began))
    return best


def table(rows: list[Row]) -> Iterator[str]:
    yield "| network | runs | PSNR, dB | SSIM | consistency | parameters | kFLOP/px | Mpx/s | tiling |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    for row in rows:
        spread = (f" ± {row.psnr_spread:.3f}", f" ± {row.ssim_spread:.4f}") if row.runs > 1 else ("", "")
        yield (
            f"| {row.name} | {row.runs} | {row.psnr:.3f}{spread[0]} | {row.ssim:.4f}{spread[1]} "
            f"| {row.consistency:.2f} | {row.parameters / 1e6:.2f} M | {row.kflops:.0f} "
            f"| {row.mpx:.2f} | {row.tiling} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, help="as written by wsisr build-dataset --validation")
    parser.add_argument("--steps", type=int, default=600, help="of training, for each")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--patch-px", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which training stops")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS, metavar="NAME")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--runs", type=Path, default=Path("runs/bench-models"))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    bench = Bench(asked.dataset, asked.runs, asked.scale, asked.steps, asked.seeds, asked.patch_px, asked.batch)
    until = time.monotonic() + 60 * asked.minutes
    names = list(asked.networks)
    jobs = [(name, seed) for seed in range(asked.seeds) for name in names]  # a seed of each before the next
    finished = [job for job in jobs if train(bench, *job, until)]
    ready = {name: [seed for other, seed in finished if other == name] for name in names}
    rows = [
        filter_row(bench, each)
        for each in (
            Resampling("bicubic", asked.scale),
            Resampling("lanczos", asked.scale),
            BackProjection(asked.scale),
        )
    ]
    rows += [row_of(bench, name, seeds) for name, seeds in ready.items() if seeds]
    load = partial(load_upscaler, scale=asked.scale, device="cpu")
    speeds = rates({name: load(bench.folder(name, seeds[0]) / LAST) for name, seeds in ready.items() if seeds})
    rows = [Row(**asdict(row) | {"mpx": speeds.get(row.name, 0.0)}) for row in rows]
    for line in table(rows):
        print(line)  # noqa: T201
    print(f"{len(finished)} of {len(jobs)} runs of {asked.steps} steps are finished")  # noqa: T201
    if asked.json:
        asked.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
