"""Degradation of high to low resolution in steps: one description for datasets and for training, read from TOML.

    kernels = { light = 0.5, area = 0.5 }       # downsampling: area, bicubic, lanczos, or light, the mean of light

    [first.lens]                                # each table is a step; steps without a table are left out
    na = [0.25, 0.4]                            # drawn uniformly from a range; a single number is fixed
    [first.jpeg]
    qualities = [30, 95]
    [second]                                    # a second round at low resolution, as for a file that is stored again
    share = 0.3
    [second.jpeg]
    qualities = 70

In the first round, lens, defocus, blur and chroma shift come before downsampling, sensor, sharpening and JPEG after it.
All numbers are drawn before any step is applied: kernel, first round, second round. A `share` of 1 and a single number
draw nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import numpy as np

from wsisr.config import parse_table, read_toml
from wsisr.dataset.degradation_steps import (
    Blur,
    ChromaShift,
    Defocus,
    Jpeg,
    Lens,
    PatchScale,
    Random,
    Sensor,
    Sharpening,
)
from wsisr.dataset.optics import average_light
from wsisr.dataset.records import ParameterValue
from wsisr.errors import ConfigError, ConfigNotFoundError
from wsisr.imaging.pixels import FilterName, Rgb, shrink_image

DrawnNumbers: TypeAlias = dict[str, ParameterValue]
"""Name of a number, such as `first.jpeg.quality`, to its drawn value."""

DEGRADATION_KERNELS = ("area", "bicubic", "lanczos", "light")

BEFORE, AFTER = ("lens", "defocus", "blur", "chroma_shift"), ("sensor", "sharpening", "jpeg")
"""Steps before and after downsampling."""


class DegradationStep(Protocol):
    """One step of a degradation: `draw` takes its numbers, `apply` changes the image by them."""

    @property
    def share(self) -> float: ...

    def draw(self, random: Random, patch_scale: PatchScale, /) -> Mapping[str, float | int | str]: ...

    def apply(self, image: Rgb, patch_scale: PatchScale, drawn: Mapping[str, Any], random: Random, /) -> Rgb: ...


@dataclass(frozen=True, slots=True)
class DegradationRound:
    """Consecutive steps; steps that are None are left out."""

    lens: Lens | None = None
    defocus: Defocus | None = None
    blur: Blur | None = None
    chroma_shift: ChromaShift | None = None
    sensor: Sensor | None = None
    sharpening: Sharpening | None = None
    jpeg: Jpeg | None = None
    share: float = 1.0
    """Share of patches that go through this round."""

    def __post_init__(self) -> None:
        if not all(0 <= share <= 1 for share in (self.share, *(step.share for _, step in self.steps()))):
            raise ConfigError("a share must be from 0 to 1")

    def steps(self, names: tuple[str, ...] = BEFORE + AFTER) -> Iterator[tuple[str, DegradationStep]]:
        """Yield the steps of these names that the round has, with their names."""
        for name in names:
            step: DegradationStep | None = getattr(self, name)
            if step is not None:
                yield name, step


@dataclass(frozen=True, slots=True)
class Degradation:
    """The degradation of a patch from high to low resolution."""

    kernels: dict[str, float] = field(default_factory=lambda: {"area": 1.0})
    """Downsampling kernel to its share of the patches."""
    first: DegradationRound = DegradationRound()
    second: DegradationRound | None = None
    """Second round, at low resolution."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.kernels) - set(DEGRADATION_KERNELS))
        if unknown:
            raise ConfigError(f"unknown kernel {unknown[0]!r}; known: {', '.join(DEGRADATION_KERNELS)}")
        if not sum(self.kernels.values()) > 0 <= min(self.kernels.values(), default=0):
            raise ConfigError("the shares of kernels must be at least 0, and one of them above 0")

    @property
    def rounds(self) -> list[tuple[str, DegradationRound]]:
        """The rounds that this degradation has, with their names."""
        return [("first", self.first), *([("second", self.second)] if self.second else [])]

    def draw(self, scale: int, mpp_low: float, random: Random) -> DrawnNumbers:
        """Draw the numbers for one patch, whose low resolution has the pixel size `mpp_low` in um/px."""
        drawn: DrawnNumbers = {"kernel": _draw_kernel(self.kernels, random)}
        scales = (PatchScale(scale, mpp_low), PatchScale(1, mpp_low))
        for (round_name, degradation_round), patch_scale in zip(self.rounds, scales, strict=False):
            if _draw_occurrence(degradation_round.share, random):
                for step_name, step in degradation_round.steps():
                    if _draw_occurrence(step.share, random):
                        numbers = step.draw(random, patch_scale)
                        drawn |= {f"{round_name}.{step_name}.{key}": value for key, value in numbers.items()}
        return drawn

    def apply(self, high: Rgb, patch_scale: PatchScale, drawn: Mapping[str, ParameterValue], random: Random) -> Rgb:
        """Degrade (h*scale, w*scale, 3) to (h, w, 3) by drawn numbers; `random` only gives the noise."""
        first, second = _select_step("first", drawn), _select_step("second", drawn)
        low_scale = PatchScale(1, patch_scale.mpp)
        image = _apply_steps(high, patch_scale, self.first.steps(BEFORE), first, random)
        image = _shrink_patch(image, patch_scale.scale, str(drawn["kernel"]))
        image = _apply_steps(image, low_scale, self.first.steps(AFTER), first, random)
        return _apply_steps(image, low_scale, (self.second or DegradationRound()).steps(), second, random)

    def __call__(self, high: Rgb, scale: int, mpp_low: float, random: Random) -> tuple[Rgb, DrawnNumbers]:
        """Degrade (h*scale, w*scale, 3) to (h, w, 3); return it with the drawn numbers."""
        drawn = self.draw(scale, mpp_low, random)
        return self.apply(high, PatchScale(scale, mpp_low), drawn, random), drawn

    def describe(self) -> dict[str, str]:
        """Return all settings as text: name to value."""
        return dict(_flatten("", asdict(self)))


SCAN = Degradation(
    first=DegradationRound(blur=Blur((0.0, 0.6)), sharpening=Sharpening((0.0, 150.0)), jpeg=Jpeg((25, 95)))
)
"""A coarser level as a scanner stores it: slightly blurred, averaged, sharpened, JPEG 4:2:0. The ranges are ours."""

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
"""A capture by an objective and a camera of lower resolution: the default of simulated pairs."""


ARCHIVE = Degradation(
    kernels={"area": 0.7, "light": 0.15, "bicubic": 0.15},
    first=DegradationRound(
        defocus=Defocus((0.2, 0.8), share=0.2),
        blur=Blur((0.1, 0.6), share=0.4),
        chroma_shift=ChromaShift((0.0, 0.5), share=0.2),
        sensor=Sensor((5_000.0, 50_000.0), (2.0, 20.0), share=0.2),
        sharpening=Sharpening((20.0, 150.0), (0.6, 1.5), share=0.35),
        jpeg=Jpeg((30, 95), ("4:2:0", "4:2:0", "4:4:4"), share=0.9),
    ),
    second=DegradationRound(jpeg=Jpeg((30, 95), ("4:2:0", "4:2:0", "4:4:4")), share=0.25),
)
"""Slides as archives hold them: of any scanner's focus and sharpening, stored as JPEG once or twice.

docs/training.md has a table of it. The papers tell none of this: steps, ranges and shares are ours.
"""

DEGRADATION_PRESETS = {"scan": SCAN, "capture": CAPTURE, "archive": ARCHIVE}
"""Degradations that have a name, in recipes and on the command line."""


def choose_degradation(name: str, folder: Path = Path()) -> Degradation:
    """Return the preset of that name, or read the TOML file; its path starts at the folder. Raises `ConfigError`."""
    if name in DEGRADATION_PRESETS:
        return DEGRADATION_PRESETS[name]
    if not Path(name).suffix:
        raise ConfigNotFoundError(
            f"no degradation is called {name!r}; known: {', '.join(DEGRADATION_PRESETS)}, or a TOML file"
        )
    return read_degradation(folder / name)


def read_degradation(path: Path) -> Degradation:
    """Read a degradation from TOML. Raises `ConfigError` if the file cannot be read or has an invalid key or value."""
    return parse_table(Degradation, read_toml(path), str(path), path.parent)


def _draw_kernel(shares: Mapping[str, float], random: Random) -> str:
    names = list(shares)
    weights = np.array(list(shares.values()))
    return names[random.choice(len(names), p=weights / weights.sum())] if len(names) > 1 else names[0]


def _draw_occurrence(share: float, random: Random) -> bool:
    return share >= 1 or bool(random.random() < share)


def _apply_steps(
    image: Rgb,
    patch_scale: PatchScale,
    steps: Iterator[tuple[str, DegradationStep]],
    drawn: Mapping[str, ParameterValue],
    random: Random,
) -> Rgb:
    """Apply the steps for which numbers were drawn."""
    for name, step in steps:
        numbers = _select_step(name, drawn)
        if numbers:
            image = step.apply(image, patch_scale, numbers, random)
    return image


def _select_step(name: str, drawn: Mapping[str, ParameterValue]) -> DrawnNumbers:
    """Return the numbers of a step or round, without its name."""
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
