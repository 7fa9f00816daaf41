"""The steps of a degradation, one class each: sRGB in, sRGB out.

`draw` draws the numbers of a step from its ranges and `apply` applies them, so that drawn numbers can be stored and
applied again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from wsisr.config import FloatRange, IntRange
from wsisr.dataset.optics import add_sensor_noise, apply_lens
from wsisr.errors import ConfigError
from wsisr.imaging.jpeg import recompress_jpeg
from wsisr.imaging.pixels import Rgb

Random: TypeAlias = np.random.Generator
StepNumbers: TypeAlias = Mapping[str, Any]

MAX_NA = 0.95
"""Largest numerical aperture of a dry objective."""

LEAST_SIGMA_PX = 0.1
"""Standard deviation of a blur below which no pixel changes: a neighbour's weight is below 1e-10."""

FilterWeights: TypeAlias = npt.NDArray[np.float32]
"""(2r+1, 2r+1), of sum 1."""

JPEG_SUBSAMPLINGS = ("4:2:0", "4:2:2", "4:4:4")


@dataclass(frozen=True, slots=True)
class PatchScale:
    """The scale and pixel size of a patch during its degradation."""

    scale: int
    """Px of the image per px of low resolution, along one axis."""
    mpp: float
    """Pixel size of the low resolution, in um/px."""


@dataclass(frozen=True, slots=True)
class Lens:
    """A diffraction-limited objective; see `wsisr.dataset.optics`."""

    na: FloatRange = (0.25, 0.4)
    """Numerical aperture of the objective."""
    at_mpp: float = 1.0
    """Pixel size of the low resolution, in um/px, to which `na` belongs. At finer ones the aperture is larger by the
    same factor, up to 0.95, like real objectives: 10x 0.3, 20x 0.6. 0: the same aperture at every pixel size."""
    wavelengths_um: tuple[float, ...] = (0.61, 0.54, 0.46)
    """Wavelengths of red, green and blue light."""
    share: float = 1.0

    def __post_init__(self) -> None:
        if not (self.na[0] > 0 and self.at_mpp >= 0):
            raise ConfigError("na must be above 0 and at_mpp at least 0")
        if len(self.wavelengths_um) != 3 or min(self.wavelengths_um) <= 0:
            raise ConfigError("wavelengths_um needs three numbers above 0: of red, green and blue")

    def draw(self, random: Random, patch_scale: PatchScale) -> StepNumbers:
        na = _draw_uniform(self.na, random)
        return {"na": min(MAX_NA, na * self.at_mpp / patch_scale.mpp) if self.at_mpp else na}

    def apply(self, image: Rgb, patch_scale: PatchScale, drawn: StepNumbers, _random: Random) -> Rgb:
        return apply_lens(image, patch_scale.mpp / patch_scale.scale, drawn["na"], self.wavelengths_um)


@dataclass(frozen=True, slots=True)
class Blur:
    """A Gaussian blur of sRGB values, for unknown causes."""

    sigma_px: FloatRange = (0.0, 0.6)
    """Standard deviation in px of the low resolution."""
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.sigma_px[0] <= self.sigma_px[1] <= 16:
            raise ConfigError("sigma_px must be from 0 to 16")

    def draw(self, random: Random, _patch_scale: PatchScale) -> StepNumbers:
        return {"sigma_px": _draw_uniform(self.sigma_px, random)}

    def apply(self, image: Rgb, patch_scale: PatchScale, drawn: StepNumbers, _random: Random) -> Rgb:
        sigma_px = drawn["sigma_px"] * patch_scale.scale
        if sigma_px < LEAST_SIGMA_PX:
            return image
        import cv2  # noqa: PLC0415 - as in wsisr.imaging.pixels

        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT))


@dataclass(frozen=True, slots=True)
class Defocus:
    """A disc of confusion, as of tissue above or below the focal plane by geometric optics, on sRGB values."""

    radius_px: FloatRange = (0.0, 0.8)
    """Radius of the disc in px of the low resolution."""
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.radius_px[0] <= self.radius_px[1] <= 16:
            raise ConfigError("radius_px must be from 0 to 16")

    def draw(self, random: Random, _patch_scale: PatchScale) -> StepNumbers:
        return {"radius_px": _draw_uniform(self.radius_px, random)}

    def apply(self, image: Rgb, patch_scale: PatchScale, drawn: StepNumbers, _random: Random) -> Rgb:
        return _filter_image(image, _make_disc(drawn["radius_px"] * patch_scale.scale))


@dataclass(frozen=True, slots=True)
class ChromaShift:
    """Red and blue that lie elsewhere than green: lateral colour of a lens, or channels captured one by one."""

    shift_px: FloatRange = (0.0, 0.5)
    """Distance of red and of blue, each in a direction of its own, from green, in px of the low resolution."""
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.shift_px[0] <= self.shift_px[1] <= 16:
            raise ConfigError("shift_px must be from 0 to 16")

    def draw(self, random: Random, _patch_scale: PatchScale) -> StepNumbers:
        numbers: dict[str, float] = {}
        for name in ("red", "blue"):
            distance, angle = _draw_uniform(self.shift_px, random), random.uniform(0, 2 * np.pi)
            numbers |= {f"{name}_x": float(distance * np.cos(angle)), f"{name}_y": float(distance * np.sin(angle))}
        return numbers

    def apply(self, image: Rgb, patch_scale: PatchScale, drawn: StepNumbers, _random: Random) -> Rgb:
        shifted = image.copy()
        for channel, name in ((0, "red"), (2, "blue")):
            x, y = (drawn[f"{name}_{axis}"] * patch_scale.scale for axis in "xy")
            shifted[..., channel] = _filter_image(np.ascontiguousarray(image[..., channel]), _make_shift(x, y))
        return shifted


@dataclass(frozen=True, slots=True)
class Sensor:
    """Shot noise and read noise of a sensor; see `wsisr.dataset.optics`."""

    electrons: FloatRange = (5_000.0, 50_000.0)
    """Electrons of a pixel at white; 10,000 give a noise of 1 % there, about one grey level."""
    read_electrons: FloatRange = (2.0, 20.0)
    """Standard deviation of the read noise."""
    share: float = 1.0

    def __post_init__(self) -> None:
        if not (self.electrons[0] > 0 and self.read_electrons[0] >= 0):
            raise ConfigError("electrons must be above 0 and read_electrons at least 0")

    def draw(self, random: Random, _patch_scale: PatchScale) -> StepNumbers:
        return {
            "electrons": _draw_uniform(self.electrons, random),
            "read_electrons": _draw_uniform(self.read_electrons, random),
        }

    def apply(self, image: Rgb, _patch_scale: PatchScale, drawn: StepNumbers, random: Random) -> Rgb:
        return add_sensor_noise(image, drawn["electrons"], drawn["read_electrons"], random)


@dataclass(frozen=True, slots=True)
class Sharpening:
    """An unsharp mask, as scanner software applies it."""

    percent: FloatRange = (0.0, 150.0)
    radius_px: FloatRange = (1.0, 1.0)
    """In px of the low resolution."""
    share: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.percent[0] <= self.percent[1] <= 1000 and 0 <= self.radius_px[0] <= self.radius_px[1] <= 16):
            raise ConfigError("percent must be from 0 to 1000 and radius_px from 0 to 16")

    def draw(self, random: Random, _patch_scale: PatchScale) -> StepNumbers:
        return {
            "percent": round(_draw_uniform(self.percent, random)),
            "radius_px": _draw_uniform(self.radius_px, random),
        }

    def apply(self, image: Rgb, _patch_scale: PatchScale, drawn: StepNumbers, _random: Random) -> Rgb:
        # Pillow's default threshold of 3 would leave weak edges unsharpened.
        mask = ImageFilter.UnsharpMask(radius=drawn["radius_px"], percent=drawn["percent"], threshold=0)
        return np.asarray(Image.fromarray(image).filter(mask))


@dataclass(frozen=True, slots=True)
class Jpeg:
    """Storing as JPEG and reading again."""

    qualities: IntRange = (30, 95)
    """Qualities of libjpeg. Slides have 25 to 95; the default of Aperio scanners is 30."""
    subsamplings: tuple[str, ...] = ("4:2:0",)
    """Chroma subsamplings, of which one is drawn."""
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.qualities[0] <= self.qualities[1] <= 100:
            raise ConfigError("qualities must be from 1 to 100")
        if not self.subsamplings or set(self.subsamplings) - set(JPEG_SUBSAMPLINGS):
            raise ConfigError(f"subsamplings are some of {', '.join(JPEG_SUBSAMPLINGS)}")

    def draw(self, random: Random, _patch_scale: PatchScale) -> StepNumbers:
        lowest, highest = self.qualities
        quality = int(random.integers(lowest, highest + 1)) if lowest < highest else lowest
        choices = self.subsamplings
        subsampling = choices[random.integers(len(choices))] if len(choices) > 1 else choices[0]
        return {"quality": quality, "subsampling": subsampling}

    def apply(self, image: Rgb, _patch_scale: PatchScale, drawn: StepNumbers, _random: Random) -> Rgb:
        return recompress_jpeg(image, drawn["quality"], drawn["subsampling"])


def _draw_uniform(ends: FloatRange, random: Random) -> float:
    return float(random.uniform(*ends)) if ends[0] < ends[1] else ends[0]


def _make_disc(radius_px: float) -> FilterWeights:
    """Return a disc; a pixel that its edge cuts counts by about the part inside."""
    reach = int(np.ceil(radius_px))
    offsets = np.arange(-reach, reach + 1)
    inside = np.clip(radius_px + 0.5 - np.hypot(offsets[:, None], offsets), 0, 1)
    return np.asarray(inside / inside.sum(), np.float32)


def _make_shift(x: float, y: float) -> FilterWeights:
    """Return the filter that moves an image by x px to the right and y px down, interpolated linearly."""
    reach = int(np.ceil(max(abs(x), abs(y))))
    offsets = np.arange(-reach, reach + 1)
    # A filter's weight at an offset is that of the pixel from there, so what moves right comes from the left.
    across, down = (np.clip(1 - np.abs(offsets + shift), 0, 1) for shift in (x, y))
    return np.outer(down, across).astype(np.float32)


def _filter_image(image: npt.NDArray[np.uint8], weights: FilterWeights) -> npt.NDArray[np.uint8]:
    """Filter (h, w, 3) or (h, w), mirrored at the edges."""
    import cv2  # noqa: PLC0415

    return np.asarray(cv2.filter2D(image, -1, weights, borderType=cv2.BORDER_REFLECT), np.uint8)
