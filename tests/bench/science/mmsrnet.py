"""MMSRNet against its trunk alone: `python -m tests.bench mmsrnet DATASET --steps 300 --seeds 2`.

For each of three trunks of about 0.1 M parameters: alone, trained on all magnifications (`alone`); with the branch that
tells them, trained jointly (`mmsrnet`); and one network for each magnification (`one each`), trained as long as the one
for all, so that together they take as many times the work. The same crops, steps and schedule for each, and the last
weights, averaged over the run's end. Scored on the validation patches of the dataset: dB above Pillow's bicubic by the
magnification of the input, which is made by area mean and by bicubic, mean over slides and both. `told` is the share of
the patches, as the slides have them, whose magnification the branch tells right, mean over magnifications: natively
scanned pitches and coarser levels. Runs are kept in --runs: what was stopped goes on, what is finished is not trained
again.
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

from tests.bench.science.architectures import KERNELS, Asked, inner
from wsisr.imaging.metrics import psnr_of, squared_error
from wsisr.imaging.pixels import Rgb, enlarge, shrink
from wsisr.imaging.units import index_of_nearest_magnification
from wsisr.models.architectures.mmsrnet import MMSRNet
from wsisr.models.back_projection import BackProjection
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Resampling, Upscaler
from wsisr.models.weights import load_network
from wsisr.training.config import DataConfig, LossConfig, NetworkConfig, ScheduleConfig, TrainConfig
from wsisr.training.loop import LAST, Run

CPU = torch.device("cpu")

TRUNKS = {"EDSR": ("edsr", 32, 5), "SPAN": ("span", 32, 3), "MASRGAN": ("masrgan", 32, 4)}
"""Name to family, channels and blocks."""

CLASSES = {2: (5.0, 10.0, 20.0), 4: (5.0, 10.0)}
"""Scale to magnifications of the input."""

Gains = dict[float, float]
"""Magnification of the input to dB above bicubic."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one way to train comes to, mean over seeds."""

    name: str
    runs: int
    gains: Gains
    spread: float
    """Standard deviation of the mean gain over seeds."""
    told: float | None = None

    @property
    def gain(self) -> float:
        return fmean(self.gains.values())


class Bench(Asked):
    """A trunk in each way."""

    @property
    def magnifications(self) -> tuple[float, ...]:
        return CLASSES[self.scale]

    @cached_property
    def groups(self) -> dict[float, list[list[Rgb]]]:
        """Magnification to the patches of each slide that has any."""
        found: dict[float, list[list[Rgb]]] = {each: [] for each in self.magnifications}
        for slide, records in self.validation.records.items():
            classes = [index_of_nearest_magnification(record.mpp_lr, self.magnifications) for record in records]
            for index, each in enumerate(self.magnifications):
                own = [self.validation.slides[slide][i] for i, other in enumerate(classes) if other == index]
                found[each] += [own] if own else []
        return {each: slides for each, slides in found.items() if slides}

    def config(self, trunk: str, seed: int, *, joint: bool = False, only: float | None = None) -> TrainConfig:
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

    def trained(self, name: str, config: TrainConfig) -> Path:
        """Weights of a run, which is finished first where it is not."""
        folder = self.runs / f"x{self.scale}-{self.steps}-{name.lower().replace(' ', '-')}-{config.seed}"
        for _ in Run(config, folder, CPU):
            pass
        return folder / LAST

    def gains(self, upscaler: Upscaler, only: float | None = None) -> Gains:
        groups = self.groups if only is None else {only: self.groups[only]}
        return {
            each: fmean(self._gain(upscaler, own, k) for own in slides for k in KERNELS)
            for each, slides in groups.items()
        }

    def _gain(self, upscaler: Upscaler, highs: list[Rgb], kernel: str) -> float:
        lows = [shrink(high, self.scale, kernel) for high in highs]  # type: ignore[arg-type]
        made = [upscaler(low[None].copy())[0] for low in lows]
        plain = [enlarge(low, self.scale, "bicubic") for low in lows]
        return _psnr(made, highs) - _psnr(plain, highs)

    def network(self, weights: Path) -> Upscaler:
        return load_upscaler(weights, scale=self.scale, device="cpu")

    def told(self, weights: Path) -> float | None:
        _, network = load_network(weights)
        assert isinstance(network, MMSRNet)
        return self.validation.accuracy(network, CPU)


def _psnr(images: list[Rgb], highs: list[Rgb]) -> float:
    pairs = zip(images, highs, strict=True)
    return psnr_of(fmean(squared_error(inner(image), inner(high)) for image, high in pairs))


def rows(bench: Bench, trunks: list[str]) -> Iterator[Row]:
    for plain in (Resampling("bicubic", bench.scale), Resampling("lanczos", bench.scale), BackProjection(bench.scale)):
        yield Row(plain.name, 1, bench.gains(plain), 0.0)
    for trunk in trunks:
        alone = [bench.trained(trunk, bench.config(trunk, seed)) for seed in range(bench.seeds)]
        yield row(f"{trunk}, alone", [bench.gains(bench.network(path)) for path in alone])
        joint = [
            bench.trained(f"mmsrnet {trunk}", bench.config(trunk, seed, joint=True)) for seed in range(bench.seeds)
        ]
        told = [right for path in joint if (right := bench.told(path)) is not None]
        found = row(f"{trunk}, mmsrnet", [bench.gains(bench.network(path)) for path in joint])
        yield replace(found, told=fmean(told) if told else None)
        yield row(f"{trunk}, one each", [one_each(bench, trunk, seed) for seed in range(bench.seeds)])


def one_each(bench: Bench, trunk: str, seed: int) -> Gains:
    """Each magnification by the network that was trained on it alone."""
    gains: Gains = {}
    for each in bench.groups:
        weights = bench.trained(f"{trunk} {each:g}x", bench.config(trunk, seed, only=each))
        gains |= bench.gains(bench.network(weights), each)
    return gains


def row(name: str, found: list[Gains]) -> Row:
    means = {each: fmean(gains[each] for gains in found) for each in found[0]}
    return Row(name, len(found), means, pstdev(fmean(gains.values()) for gains in found))


def table(bench: Bench, found: list[Row]) -> Iterator[str]:
    names = [f"{each:g}x, dB" for each in bench.groups]
    yield f"| network | runs | {' | '.join(names)} | mean, dB | told |"
    yield f"|---|--:|{'--:|' * len(names)}--:|--:|"
    for each in found:
        gains = " | ".join(f"{gain:+.3f}" for gain in each.gains.values())
        spread = f" ± {each.spread:.3f}" if each.runs > 1 else ""
        told = "" if each.told is None else f"{100 * each.told:.0f} %"
        yield f"| {each.name} | {each.runs} | {gains} | {each.gain:+.3f}{spread} | {told} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, help="as written by wsisr build-dataset --validation")
    parser.add_argument("--steps", type=int, default=300, help="of training, for each")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--patch-px", type=int, default=48)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--trunks", nargs="+", default=list(TRUNKS), choices=TRUNKS, metavar="NAME")
    parser.add_argument("--runs", type=Path, default=Path("runs/bench-mmsrnet"))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    bench = Bench(asked.dataset, asked.runs, asked.scale, asked.steps, asked.seeds, asked.patch_px, asked.batch)
    found = list(rows(bench, asked.trunks))
    for line in table(bench, found):
        print(line)  # noqa: T201
    if asked.json:
        asked.json.write_text(json.dumps([asdict(each) for each in found], indent=1))


if __name__ == "__main__":
    main()
