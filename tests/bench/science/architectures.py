"""Networks of about 0.4 M parameters compared: `python -m tests.bench architectures DATASET --steps 600 --seeds 2`.

The same data, crops, steps and schedule for each, and the last weights of each run, averaged over its end. Scored on
the validation patches of the dataset (held-out slides): input by area mean and by Pillow's bicubic, PSNR and SSIM of a
slide from all of its patches together, then the mean over slides and kernels. Runs are kept in --runs: what was
stopped resumes, what is finished is not trained again. With --minutes, training stops after that time and the table
holds what is finished; the same command resumes.

consistency: mean difference in grey levels between the output, averaged back, and the input.
tiling: largest difference in grey levels between tiles of 128 and of 512 px; 0 or 1 for local networks.
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

from tests.support.samples import upscale_pixels
from wsisr.dataset.reader import PatchStore
from wsisr.imaging.metrics import UNSCORED_BORDER_PX, compute_ssim, mean_squared_error, psnr_from_error
from wsisr.imaging.pixels import FilterName, Rgb, shrink_image
from wsisr.models.back_projection import BackProjection
from wsisr.models.loading import load_upscaler
from wsisr.models.spec import ModelSpec
from wsisr.models.upscaler import Resampling, Upscaler
from wsisr.models.weights import build_network
from wsisr.training.config import DataConfig, NetworkConfig, ScheduleConfig, TrainConfig
from wsisr.training.loop import LAST_WEIGHTS_FILE, TrainingRun, count_trainable_parameters
from wsisr.training.validation import Validation
from wsisr.upscaling.plan import UpscaleOptions

KERNELS: tuple[FilterName, ...] = ("area", "bicubic")

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
    """Scores of one network, mean over its seeds; spreads are standard deviations."""

    name: str
    runs: int
    psnr: float
    psnr_spread: float
    ssim: float
    ssim_spread: float
    consistency: float
    parameters: int = 0
    kflops: float = 0.0
    """Thousand floating-point operations per output pixel."""
    mpx: float = 0.0
    """Million output pixels a second with tiles of 256 px, the best of three."""
    tiling: int = 0


@dataclass(frozen=True)
class ExperimentSettings:
    """Dataset, folder of the runs, and length of each run."""

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


class ArchitectureBench(ExperimentSettings):
    """Trains and scores each network in the same way."""

    def build_config(self, name: str, seed: int) -> TrainConfig:
        family, channels, blocks = NETWORKS[name]
        shape = NetworkConfig(self.scale, family, channels, blocks)
        warm_up = max(1, self.steps // 20)
        ema = max(0.9, 1 - 20 / self.steps)  # over the last twentieth of the run
        schedule = ScheduleConfig(self.steps, warm_up=warm_up, ema=ema, validate_every=self.steps, save_every=100)
        data = DataConfig(self.dataset, self.patch_px, self.batch, {"area": 0.5, "bicubic": 0.5})
        return TrainConfig(shape, data, schedule, seed=seed)

    def run_folder(self, name: str, seed: int) -> Path:
        words = name.lower().replace(", ", "-").replace(" ", "-")
        return self.runs / f"x{self.scale}-{self.steps}-{words}-{seed}"

    def score_upscaler(self, upscaler: Upscaler) -> Scores:
        scores = [
            self._score_slide(upscaler, highs, kernel)
            for highs in self.validation.highs_by_slide.values()
            for kernel in KERNELS
        ]
        return Scores(*(float(mean(values)) for values in zip(*scores, strict=True)))

    def _score_slide(self, upscaler: Upscaler, highs: list[Rgb], kernel: FilterName) -> tuple[float, float, float]:
        lows = [shrink_image(high, self.scale, kernel) for high in highs]
        outputs = [upscaler(low[None].copy())[0] for low in lows]
        pairs = [(crop_border(output), crop_border(high)) for output, high in zip(outputs, highs, strict=True)]
        averaged = [shrink_image(output, self.scale, "area").astype(float) for output in outputs]
        consistency = mean(float(np.abs(mine - low).mean()) for mine, low in zip(averaged, lows, strict=True))
        return (
            psnr_from_error(mean(mean_squared_error(*pair) for pair in pairs)),
            mean(compute_ssim(*pair) for pair in pairs),
            consistency,
        )


def crop_border(image: Rgb) -> Rgb:
    return np.ascontiguousarray(image[UNSCORED_BORDER_PX:-UNSCORED_BORDER_PX, UNSCORED_BORDER_PX:-UNSCORED_BORDER_PX])


def train_until(bench: ArchitectureBench, name: str, seed: int, until: float) -> bool:
    """Train until the run is finished or the time is over, then save; return whether it is finished."""
    run = TrainingRun(bench.build_config(name, seed), bench.run_folder(name, seed), torch.device("cpu"))
    if time.monotonic() < until:
        for _ in run:
            if time.monotonic() > until:
                run.save()
                break
    return run.step == bench.steps


def measure_network(bench: ArchitectureBench, name: str, seeds: Iterable[int]) -> Row:
    paths = [bench.run_folder(name, seed) / LAST_WEIGHTS_FILE for seed in seeds]
    upscalers = [load_upscaler(path, scale=bench.scale, device="cpu") for path in paths]
    scores = [bench.score_upscaler(upscaler) for upscaler in upscalers]
    weights = upscalers[0].info.weights
    assert weights is not None
    assert weights.spec is not None
    network = build_network(weights.spec)
    return Row(
        name,
        len(scores),
        *mean_and_deviation([score.psnr for score in scores]),
        *mean_and_deviation([score.ssim for score in scores]),
        mean(score.consistency for score in scores),
        count_trainable_parameters(network),
        count_kflops_per_px(weights.spec),
        tiling=measure_tiling_difference(bench, upscalers[0]),
    )


def measure_filter(bench: ArchitectureBench, upscaler: Upscaler) -> Row:
    scores = bench.score_upscaler(upscaler)
    return Row(upscaler.info.name, 1, scores.psnr, 0.0, scores.ssim, 0.0, scores.consistency)


def mean_and_deviation(values: list[float]) -> tuple[float, float]:
    return mean(values), pstdev(values)


def count_kflops_per_px(spec: ModelSpec) -> float:
    network, side = build_network(spec), 64
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, side, side))
    return int(counter.get_total_flops()) / (side * spec.scale) ** 2 / 1e3


def measure_tiling_difference(bench: ArchitectureBench, upscaler: Upscaler) -> int:
    """Return the largest difference on two patches side by side, 512 x 256 px for patches of 256 px."""
    highs = [high for patches in bench.validation.highs_by_slide.values() for high in patches]
    mosaic = np.concatenate([highs[0], highs[-1]], axis=1)
    small, large = (upscale_pixels(mosaic, upscaler, UpscaleOptions(tile_px=side)) for side in (128, 512))
    return int(np.abs(small.astype(np.int16) - large).max())


def measure_speeds(upscalers: dict[str, Upscaler]) -> dict[str, float]:
    """Return output Mpx/s of each; they take turns, so that other load on the machine affects all alike."""
    window = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    best = dict.fromkeys(upscalers, 0.0)
    for number in range(4):
        for name, upscaler in upscalers.items():
            began = time.perf_counter()
            pixels = upscaler(window).size / 3e6
            if number:
                best[name] = max(best[name], pixels / (time.perf_counter() - began))
    return best


def format_table(rows: list[Row]) -> Iterator[str]:
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
    parser.add_argument("--steps", type=int, default=600, help="of training, for each network")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--patch-px", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which training stops")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS, metavar="NAME")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--runs", type=Path, default=Path("runs/bench-models"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    bench = ArchitectureBench(
        arguments.dataset,
        arguments.runs,
        arguments.scale,
        arguments.steps,
        arguments.seeds,
        arguments.patch_px,
        arguments.batch,
    )
    until = time.monotonic() + 60 * arguments.minutes
    names = list(arguments.networks)
    jobs = [(name, seed) for seed in range(arguments.seeds) for name in names]  # one seed of all before the next
    finished = [job for job in jobs if train_until(bench, *job, until)]
    ready = {name: [seed for other, seed in finished if other == name] for name in names}
    rows = [
        measure_filter(bench, baseline)
        for baseline in (
            Resampling("bicubic", arguments.scale),
            Resampling("lanczos", arguments.scale),
            BackProjection(arguments.scale),
        )
    ]
    rows += [measure_network(bench, name, seeds) for name, seeds in ready.items() if seeds]
    load = partial(load_upscaler, scale=arguments.scale, device="cpu")
    speeds = measure_speeds(
        {name: load(bench.run_folder(name, seeds[0]) / LAST_WEIGHTS_FILE) for name, seeds in ready.items() if seeds}
    )
    rows = [Row(**asdict(row) | {"mpx": speeds.get(row.name, 0.0)}) for row in rows]
    for line in format_table(rows):
        print(line)  # noqa: T201
    print(f"{len(finished)} of {len(jobs)} runs of {arguments.steps} steps are finished")  # noqa: T201
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
