"""Synthetic captures of a slide, between which the true transform is known.

A capture is rendered from a finer image through a Gaussian centred on each of its pixels, at any offset, angle and
scale: no capture shares its pixel grid with that image. Colour change, noise and JPEG follow.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile

from wsisr.dataset.registration.affine import Affine, corner_points, enclosing_box
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, round_to_uint8

OWN_BLUR = 0.45
"""Standard deviation of a pixel's own footprint and the sharpest optics, in px of the capture."""


@dataclass(frozen=True, slots=True)
class CaptureFlaws:
    """Degradations of a capture besides its pixel size."""

    blur_px: float = 0.0
    """Standard deviation of a further blur, in px of the capture."""
    recolour: float = 0.0
    """Largest change and mixing of optical densities between channels, as a share."""
    noise: float = 0.0
    """Standard deviation at white, in grey levels."""
    quality: int = 100

    @classmethod
    def draw(cls, random: np.random.Generator, worst: CaptureFlaws) -> CaptureFlaws:
        return cls(
            random.uniform(0, worst.blur_px),
            worst.recolour,
            random.uniform(0, worst.noise),
            int(random.integers(worst.quality, 96)),
        )


def render_capture(fine: Rgb, place: Affine, size: Size, flaws: CaptureFlaws, random: np.random.Generator) -> Rgb:
    """Render an image of `size` of the part of the fine image to which `place` maps it."""
    sigma = place.scale * float(np.hypot(OWN_BLUR, flaws.blur_px))
    box = enclosing_box(place(corner_points(size)), round(4 * sigma) + 2).intersection(
        Box(0, 0, fine.shape[1], fine.shape[0])
    )
    light = cv2.GaussianBlur(fine[box.rows, box.columns].astype(np.float32), (0, 0), sigma)
    place = place.translate(-box.left, -box.top)
    x, y = np.meshgrid(np.arange(size.width) + 0.5, np.arange(size.height) + 0.5)
    points = place(np.column_stack([x.ravel(), y.ravel()])) - 0.5
    columns, rows = (points[:, i].reshape(size.height, size.width).astype(np.float32) for i in (0, 1))
    image = cv2.remap(light, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return store_as_jpeg(add_noise(change_stain(image, flaws.recolour, random), flaws.noise, random), flaws.quality)


def change_stain(light: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Scale optical densities, mix them between channels, and tint the light."""
    density = -np.log((np.clip(light, 0, 255) + 1) / 256)
    mixing = np.eye(3) + random.uniform(-share, share, (3, 3)) * (0.4 + 0.6 * np.eye(3))
    tint = 1 - random.uniform(0, share / 3, 3)
    return np.asarray((np.exp(-density @ mixing.T) * tint) * 256 - 1)


def add_noise(light: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Add noise: half of it is shot noise, which grows with the root of the light, half is the sensor's."""
    strength = level * np.sqrt(0.5 + 0.5 * np.clip(light, 0, 255) / 255)
    return np.asarray(light + random.normal(size=light.shape) * strength)


def store_as_jpeg(light: np.ndarray, quality: int) -> Rgb:
    image = round_to_uint8(light)
    if quality == 100:
        return image
    _, file = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


LOW_FLAWS = CaptureFlaws(blur_px=0.6, recolour=0.25, noise=4, quality=50)
HIGH_FLAWS = CaptureFlaws(blur_px=0.3, noise=2, quality=75)
"""The worst flaws from which those of the coarser and the finer capture of a pair are drawn."""

FINE_PX = 2.0
"""Px of the finer image that one px of the finer capture covers."""

LEAST_CONTRAST = 6.0


@dataclass(frozen=True, slots=True)
class RegisteredField:
    """A patch of the coarser capture, the finer capture around it, and the transform between them."""

    low: Rgb
    high: Rgb
    truth: Affine
    centre: tuple[float, float]
    """Centre of the patch, in px of the finer image."""


@dataclass(frozen=True, slots=True)
class FieldSettings:
    """Ranges from which fields are drawn."""

    ratio: int
    """Nominal scale: px of the finer capture per px of the coarser."""
    patch_px: int = 192
    """Side of the patch in px of the finer capture."""
    shift_px: float = 16.0
    """Largest shift along an axis, in px of the finer capture."""
    degrees: float = 5.0
    scale: float = 0.03

    @property
    def high_px(self) -> int:
        """Side of the finer capture: contains the patch at any shift, rotation and scale."""
        return round(self.patch_px * 1.15 + 2 * self.shift_px) + 8

    def draw_field(self, fine: Rgb, random: np.random.Generator) -> RegisteredField | None:
        """Draw a field at random; None if it shows almost nothing."""
        margin = FINE_PX * self.high_px * 0.55
        x, y = random.uniform(margin, np.array(fine.shape[1::-1]) - margin)
        low, high = self.patch_px // self.ratio, self.high_px
        truth = Affine.similarity(
            self.ratio * random.uniform(1 - self.scale, 1 + self.scale), random.uniform(-self.degrees, self.degrees)
        )
        shift = high / 2 + random.uniform(-self.shift_px, self.shift_px, 2)
        truth = centre_map(truth, low, (shift[0], shift[1]))
        place = centre_map(Affine.similarity(FINE_PX * random.uniform(0.99, 1.01)), high, (x, y))
        patch = render_capture(fine, place.compose(truth), Size(low, low), CaptureFlaws.draw(random, LOW_FLAWS), random)
        if patch.mean(axis=2).std() < LEAST_CONTRAST:
            return None
        return RegisteredField(
            patch,
            render_capture(fine, place, Size(high, high), CaptureFlaws.draw(random, HIGH_FLAWS), random),
            truth,
            (float(x), float(y)),
        )


def centre_map(turn: Affine, side: int, target: tuple[float, float]) -> Affine:
    """Return the transform shifted so that it maps the centre of a square to a point."""
    x, y = turn(np.array([[side / 2, side / 2]]))[0]
    return turn.translate(target[0] - x, target[1] - y)


@dataclass(frozen=True, slots=True)
class ScanPair:
    """Two whole captures of one specimen, and the transform from px of the coarser to px of the finer."""

    low: Rgb
    high: Rgb
    truth: Affine


def render_scans(
    fine: Rgb, ratio: int, random: np.random.Generator, quarter: int | None = None, flip: bool | None = None
) -> ScanPair:
    """Render two captures, each of its own part of the fine image; the coarser is rotated, perhaps mirrored.

    `quarter` is 0, 90, 180 or 270 degrees, to which up to 6 are added; it and `flip` are drawn at random if not given.
    """
    height, width = fine.shape[:2]
    there = Size(int(width / FINE_PX * 0.8), int(height / FINE_PX * 0.8))
    here = Size(int(width / FINE_PX / ratio * 0.7), int(height / FINE_PX / ratio * 0.7))
    high = Affine.similarity(FINE_PX * random.uniform(0.99, 1.01)).translate(*random.uniform(0, 0.15 * width, 2))
    drawn = int(random.choice([0, 90, 180, 270]))
    turn = (drawn if quarter is None else quarter) + random.uniform(-6, 6)
    scale, mirrored = FINE_PX * ratio * random.uniform(0.97, 1.03), bool(random.integers(2))
    low = Affine.similarity(scale, turn, mirrored if flip is None else flip)
    middle = low(np.array([[here.width / 2, here.height / 2]]))[0]
    low = low.translate(*(np.array([width, height]) / 2 + random.uniform(-0.06, 0.06, 2) * width - middle))
    return ScanPair(
        render_capture(fine, low, here, CaptureFlaws.draw(random, LOW_FLAWS), random),
        render_capture(fine, high, there, CaptureFlaws.draw(random, HIGH_FLAWS), random),
        high.inverse.compose(low),
    )


def write_capture(path: Path, pixels: Rgb, mpp: float | None) -> Path:
    """Write a TIFF of one level, with its pixel size in um/px if there is one."""
    resolution = None if mpp is None else (1e4 / mpp, 1e4 / mpp)
    unit = None if mpp is None else "CENTIMETER"
    pitch: dict[str, Any] = {"resolution": resolution, "resolutionunit": unit}
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(256, 256), compression="deflate", **pitch)
    return path


@functools.cache
def make_tissue(seed: int, side: int = 640) -> Rgb:
    """Return blobs of several sizes in two stains on white."""
    random = np.random.default_rng(seed)
    layers = [cv2.GaussianBlur(random.normal(size=(side, side)).astype(np.float32), (0, 0), s) * s for s in (3, 6, 20)]
    stains = np.stack([np.maximum(layers[0] + layers[2], 0), np.maximum(layers[1] - layers[2], 0)], axis=-1)
    return round_to_uint8(250 * np.exp(-stains @ np.array([[0.6, 0.9, 0.3], [0.2, 0.8, 0.5]])))
