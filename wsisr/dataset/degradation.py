"""How low resolution arises from high, step by step: one description for datasets and for training, read from TOML.

    kernels = { light = 0.5, area = 0.5 }       # how px become larger: area, bicubic, lanczos, or light: its mean

    [first.lens]                                # each table is a step; what has no table does not happen
    na = [0.25, 0.4]                            # ranges are drawn from evenly; one number stands for itself
    [first.jpeg]
    qualities = [30, 95]
    [second]                                    # once more at low resolution, as a file that is stored again
    share = 0.3
    [second.jpeg]
    qualities = 70

In each round the lens and the blur come before the px become larger, then sensor, sharpening and JPEG. All numbers are
drawn first, kernel, first round, second round, in this order; a `share` of 1 and a single number draw nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import numpy as np

from wsisr.config import parse_table, read_toml
from wsisr.dataset.degradation_steps import Blur, Jpeg, Lens, PatchScale, Sensor, Sharpening
from wsisr.dataset.optics import average_light
from wsisr.dataset.records import ParameterValue
from wsisr.errors import ConfigError
from wsisr.imaging.pixels import FilterName, Rgb, shrink_image

Random: TypeAlias = np.random.Generator
DrawnNumbers: TypeAlias = dict[str, ParameterValue]
"""Name of a number, such as `first.jpeg.quality`, to what was drawn."""

DEGRADATION_KERNELS = ("area", "bicubic", "lanczos", "light")

BEFORE, AFTER = ("lens", "blur"), ("sensor", "sharpening", "jpeg")
"""Steps before and after the px become larger."""


class DegradationStep(Protocol):
    """One thing that happens to an image."""

    @property
    def share(self) -> float: ...

    def draw(self, random: Random, view: PatchScale) -> Mapping[str, float | int | str]: ...

    def apply(self, image: Rgb, view: PatchScale, drawn: Mapping[str, Any], random: Random) -> Rgb: ...


@dataclass(frozen=True, slots=True)
class DegradationRound:
    """Steps that follow each other; those that are left out do not happen."""

    lens: Lens | None = None
    blur: Blur | None = None
    sensor: Sensor | None = None
    sharpening: Sharpening | None = None
    jpeg: Jpeg | None = None
    share: float = 1.0
    """Of patches that go through it."""

    def __post_init__(self) -> None:
        if not all(0 <= share <= 1 for share in (self.share, *(step.share for _, step in self.steps()))):
            raise ConfigError("a share is from 0 to 1")

    def steps(self, names: tuple[str, ...] = BEFORE + AFTER) -> Iterator[tuple[str, DegradationStep]]:
        for name in names:
            step: DegradationStep | None = getattr(self, name)
            if step is not None:
                yield name, step


@dataclass(frozen=True, slots=True)
class Degradation:
    """Everything between a patch at high resolution and its low one."""

    kernels: dict[str, float] = field(default_factory=lambda: {"area": 1.0})
    """Kernel to its share of the patches."""
    first: DegradationRound = DegradationRound()
    second: DegradationRound | None = None
    """At low resolution."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.kernels) - set(DEGRADATION_KERNELS))
        if unknown:
            raise ConfigError(f"unknown kernel {unknown[0]!r}; known: {', '.join(DEGRADATION_KERNELS)}")
        if not sum(self.kernels.values()) > 0 <= min(self.kernels.values(), default=0):
            raise ConfigError("kernels need shares of which none is below 0 and one is above")

    @property
    def rounds(self) -> list[tuple[str, DegradationRound]]:
        return [("first", self.first), *([("second", self.second)] if self.second else [])]

    def draw(self, scale: int, mpp_low: float, random: Random) -> DrawnNumbers:
        """Numbers for one patch, whose low resolution has that pitch in um/px."""
        drawn: DrawnNumbers = {"kernel": _draw_kernel(self.kernels, random)}
        for (name, each), view in zip(self.rounds, (PatchScale(scale, mpp_low), PatchScale(1, mpp_low)), strict=False):
            if _draw_occurrence(each.share, random):
                for step_name, step in each.steps():
                    if _draw_occurrence(step.share, random):
                        values = step.draw(random, view)
                        drawn |= {f"{name}.{step_name}.{key}": value for key, value in values.items()}
        return drawn

    def apply(self, high: Rgb, view: PatchScale, drawn: Mapping[str, ParameterValue], random: Random) -> Rgb:
        """(h*scale, w*scale, 3) to (h, w, 3). The noise alone is still random."""
        image = _apply_steps(high, view, self.first.steps(BEFORE), _select_step("first", drawn), random)
        image = _shrink_patch(image, view.scale, str(drawn["kernel"]))
        low = PatchScale(1, view.mpp)
        image = _apply_steps(image, low, self.first.steps(AFTER), _select_step("first", drawn), random)
        return _apply_steps(
            image, low, (self.second or DegradationRound()).steps(), _select_step("second", drawn), random
        )

    def __call__(self, high: Rgb, scale: int, mpp_low: float, random: Random) -> tuple[Rgb, DrawnNumbers]:
        """(h*scale, w*scale, 3) to (h, w, 3), and what was drawn for it."""
        drawn = self.draw(scale, mpp_low, random)
        return self.apply(high, PatchScale(scale, mpp_low), drawn, random), drawn

    def describe(self) -> dict[str, str]:
        """Every number of it in words: name to value."""
        return dict(_flatten("", asdict(self)))


SCAN = Degradation(
    first=DegradationRound(blur=Blur((0.0, 0.6)), sharpening=Sharpening((0.0, 150.0)), jpeg=Jpeg((25, 95)))
)
"""As a scanner stores a coarser level: blurred a little, averaged, sharpened, JPEG 4:2:0. Ranges are ours."""

CAPTURE = Degradation(
    kernels={"light": 0.5, "area": 0.5},
    first=DegradationRound(
        lens=Lens(),
        blur=Blur((0.0, 0.5)),
        sensor=Sensor(),
        sharpening=Sharpening((0.0, 100.0), share=0.5),
        jpeg=Jpeg((30, 95), ("4:2:0", "4:2:2", "4:4:4")),
    ),
    second=DegradationRound(jpeg=Jpeg((50, 95)), share=0.3),
)
"""As an objective and a camera of less resolution would have seen it: what is taken where nothing else is told."""


def read_degradation(path: Path) -> Degradation:
    """Raises `ConfigError` where the file cannot be read or a key or value in it cannot be meant."""
    return parse_table(Degradation, read_toml(path), str(path), path.parent)


def _draw_kernel(shares: Mapping[str, float], random: Random) -> str:
    names = list(shares)
    weights = np.array(list(shares.values()))
    return names[random.choice(len(names), p=weights / weights.sum())] if len(names) > 1 else names[0]


def _draw_occurrence(share: float, random: Random) -> bool:
    return share >= 1 or bool(random.random() < share)


def _apply_steps(
    image: Rgb,
    view: PatchScale,
    steps: Iterator[tuple[str, DegradationStep]],
    drawn: Mapping[str, ParameterValue],
    random: Random,
) -> Rgb:
    """Through each of the steps for which something was drawn."""
    for name, step in steps:
        own = _select_step(name, drawn)
        if own:
            image = step.apply(image, view, own, random)
    return image


def _select_step(name: str, drawn: Mapping[str, ParameterValue]) -> DrawnNumbers:
    prefix = f"{name}."
    return {key.removeprefix(prefix): value for key, value in drawn.items() if key.startswith(prefix)}


def _shrink_patch(image: Rgb, scale: int, kernel: str) -> Rgb:
    return average_light(image, scale) if kernel == "light" else shrink_image(image, scale, cast("FilterName", kernel))


def _flatten(name: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict) and key != "kernels":
            yield from _flatten(f"{name}{key}.", value)
        elif value is not None:
            yield f"{name}{key}", str(value)
