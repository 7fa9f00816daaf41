"""MMSRNet against its trunk alone: `python -m tests.bench mmsrnet DATASET --steps 300 --seeds 2`.

For each of three trunks of about 0.1 M parameters: alone, trained on all magnifications (`alone`); with the branch that
classifies them, trained jointly (`mmsrnet`); and one network for each magnification (`one each`), trained as long as
the one for all, so that together they take as many times the work. The same crops, steps and schedule for each, and the
last weights, averaged over the run's end. Scored on the validation patches of the dataset: dB above Pillow's bicubic by
the magnification of the input, which is made by area mean and by bicubic, mean over slides and both. `told` is the
share of the high-resolution patches whose magnification the branch classifies right, mean over magnifications: natively
scanned pixel sizes and coarser levels. Runs are kept in --runs: stopped runs resume, finished ones are not repeated.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean, pstdev

import torch

from tests.bench.science.architectures import KERNELS, ExperimentSettings, crop_border
from wsisr.imaging.metrics import mean_squared_error, psnr_from_error
from wsisr.imaging.pixels import Rgb, enlarge_image, shrink_image
from wsisr.imaging.units import index_of_nearest_magnification
from wsisr.models.architectures.mmsrnet import MMSRNet
from wsisr.models.back_projection import BackProjection
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Resampling, Upscaler
from wsisr.models.weights import load_network
from wsisr.training.config import DataConfig, LossConfig, NetworkConfig, ScheduleConfig, TrainConfig
from wsisr.training.loop import LAST_WEIGHTS_FILE, TrainingRun

CPU = torch.device("cpu")

TRUNKS = {"EDSR": ("edsr", 32, 5), "SPAN": ("span", 32, 3), "MASRGAN": ("masrgan", 32, 4)}
"""Name to family, channels and blocks."""

CLASSES = {2: (5.0, 10.0, 20.0), 4: (5.0, 10.0)}
"""Scale to magnifications of the input."""

Gains = dict[float, float]
"""Magnification of the input to dB above bicubic."""


@dataclass(frozen=True, slots=True)
class Row:
    """Gains of one way of training, mean over seeds."""

    name: str
    runs: int
    gains: Gains
    spread: float
    """Standard deviation of the mean gain over seeds."""
    told: float | None = None

    @property
    def gain(self) -> float:
        return fmean(self.gains.values())


class MmsrnetBench(ExperimentSettings):
    """Trains a trunk in each of the three ways."""

    @property
    def magnifications(self) -> tuple[float, ...]:
        return CLASSES[self.scale]

    @cached_property
    def patches_by_magnification(self) -> dict[float, list[list[Rgb]]]:
        """Maps magnification magnification to the patches of magnification slide that has any."""
        groups: dict[float, list[list[Rgb]]] = {magnification: [] for magnification in self.magnifications}
        for slide, records in self.validation.records_by_slide.items():
            classes = [index_of_nearest_magnification(record.mpp_lr, self.magnifications) for record in records]
            for index, magnification in enumerate(self.magnifications):
                patches = [
                    self.validation.highs_by_slide[slide][i] for i, other in enumerate(classes) if other == index
                ]
                groups[magnification] += [patches] if patches else []
        return {magnification: slides for magnification, slides in groups.items() if slides}

    def build_config(self, trunk: str, seed: int, *, joint: bool = False, only: float | None = None) -> TrainConfig:
        family, channels, blocks = TRUNKS[trunk]
        shape = NetworkConfig(self.scale, family, channels, blocks)
        if joint:
            shape = replace(shape, family="mmsrnet", trunk=family, magnifications=self.magnifications)
        schedule = ScheduleConfig(
            self.steps, warm_up=max(1, self.steps // 20), ema=0.98, validate_every=self.steps, save_every=100
        )
        kernels = {"area": 0.5, "bicubic": 0.5}
        data = DataConfig(self.dataset, self.patch_px, self.batch, kernels, magnifications=(only,) if only else ())
        return TrainConfig(shape, data, schedule, LossConfig(classification=0.001 if joint else 0.0), seed=seed)

    def train_to_end(self, name: str, config: TrainConfig) -> Path:
        """Finish a run and return the path of its last weights."""
        folder = self.runs / f"x{self.scale}-{self.steps}-{name.lower().replace(' ', '-')}-{config.seed}"
        for _ in TrainingRun(config, folder, CPU):
            pass
        return folder / LAST_WEIGHTS_FILE

    def measure_gains(self, upscaler: Upscaler, only: float | None = None) -> Gains:
        groups = self.patches_by_magnification if only is None else {only: self.patches_by_magnification[only]}
        return {
            magnification: fmean(
                self._measure_gain(upscaler, patches, kernel) for patches in slides for kernel in KERNELS
            )
            for magnification, slides in groups.items()
        }

    def _measure_gain(self, upscaler: Upscaler, highs: list[Rgb], kernel: str) -> float:
        lows = [shrink_image(high, self.scale, kernel) for high in highs]  # type: ignore[arg-type]
        outputs = [upscaler(low[None].copy())[0] for low in lows]
        baselines = [enlarge_image(low, self.scale, "bicubic") for low in lows]
        return measure_psnr(outputs, highs) - measure_psnr(baselines, highs)

    def load_weights(self, weights: Path) -> Upscaler:
        return load_upscaler(weights, scale=self.scale, device="cpu")

    def measure_accuracy(self, weights: Path) -> float | None:
        _, network = load_network(weights)
        assert isinstance(network, MMSRNet)
        return self.validation.measure_accuracy(network, CPU)


def measure_psnr(images: list[Rgb], highs: list[Rgb]) -> float:
    pairs = zip(images, highs, strict=True)
    return psnr_from_error(fmean(mean_squared_error(crop_border(image), crop_border(high)) for image, high in pairs))


def measure_rows(bench: MmsrnetBench, trunks: list[str]) -> Iterator[Row]:
    for baseline in (
        Resampling("bicubic", bench.scale),
        Resampling("lanczos", bench.scale),
        BackProjection(bench.scale),
    ):
        yield Row(baseline.info.name, 1, bench.measure_gains(baseline), 0.0)
    for trunk in trunks:
        alone = [bench.train_to_end(trunk, bench.build_config(trunk, seed)) for seed in range(bench.seeds)]
        yield average_runs(f"{trunk}, alone", [bench.measure_gains(bench.load_weights(path)) for path in alone])
        joint = [
            bench.train_to_end(f"mmsrnet {trunk}", bench.build_config(trunk, seed, joint=True))
            for seed in range(bench.seeds)
        ]
        accuracies = [accuracy for path in joint if (accuracy := bench.measure_accuracy(path)) is not None]
        joint_row = average_runs(f"{trunk}, mmsrnet", [bench.measure_gains(bench.load_weights(path)) for path in joint])
        yield replace(joint_row, told=fmean(accuracies) if accuracies else None)
        yield average_runs(f"{trunk}, one each", [measure_one_each(bench, trunk, seed) for seed in range(bench.seeds)])


def measure_one_each(bench: MmsrnetBench, trunk: str, seed: int) -> Gains:
    """Return the gain at each magnification of the network trained on it alone."""
    gains: Gains = {}
    for magnification in bench.patches_by_magnification:
        weights = bench.train_to_end(f"{trunk} {magnification:g}x", bench.build_config(trunk, seed, only=magnification))
        gains |= bench.measure_gains(bench.load_weights(weights), magnification)
    return gains


def average_runs(name: str, runs: list[Gains]) -> Row:
    means = {magnification: fmean(gains[magnification] for gains in runs) for magnification in runs[0]}
    return Row(name, len(runs), means, pstdev(fmean(gains.values()) for gains in runs))


def format_table(bench: MmsrnetBench, rows: list[Row]) -> Iterator[str]:
    names = [f"{magnification:g}x, dB" for magnification in bench.patches_by_magnification]
    yield f"| network | runs | {' | '.join(names)} | mean, dB | told |"
    yield f"|---|--:|{'--:|' * len(names)}--:|--:|"
    for row in rows:
        gains = " | ".join(f"{gain:+.3f}" for gain in row.gains.values())
        spread = f" ± {row.spread:.3f}" if row.runs > 1 else ""
        accuracy = "" if row.told is None else f"{100 * row.told:.0f} %"
        yield f"| {row.name} | {row.runs} | {gains} | {row.gain:+.3f}{spread} | {accuracy} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, help="as written by wsisr build-dataset --validation")
    parser.add_argument("--steps", type=int, default=300, help="of training, for each network")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--patch-px", type=int, default=48)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--trunks", nargs="+", default=list(TRUNKS), choices=TRUNKS, metavar="NAME")
    parser.add_argument("--runs", type=Path, default=Path("runs/bench-mmsrnet"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    bench = MmsrnetBench(
        arguments.dataset,
        arguments.runs,
        arguments.scale,
        arguments.steps,
        arguments.seeds,
        arguments.patch_px,
        arguments.batch,
    )
    rows = list(measure_rows(bench, arguments.trunks))
    for line in format_table(bench, rows):
        print(line)  # noqa: T201
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
