"""What a lens and a sensor do to light. Images come and go as sRGB; light is what sRGB values stand for.

The lens is a circular, aberration-free pupil in incoherent light, whose optical transfer function is known: for a
spatial frequency f and the cut-off c = 2 NA / wavelength,

    OTF(f) = 2/pi (arccos(f/c) - f/c sqrt(1 - (f/c)^2)),  0 beyond c

(Goodman, Introduction to Fourier Optics, 3rd ed., eq. 6-32; its point spread is Airy's). Brightfield is nearly
incoherent where the condenser is opened as far as the objective; the blur that the truth has already comes on top.

The sensor's noise is that of Foi et al., "Practical Poissonian-Gaussian noise modeling", IEEE TIP 17 (2008): of a
Gaussian whose variance is the light in electrons, plus that of reading them. Colours are alike and neighbours are
independent: no mosaic of colours is simulated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import Rgb, round_to_uint8

Light = npt.NDArray[np.float32]
"""(h, w, 3), linear, 0 for none to 1 for sRGB's white."""

_PADDING_PX = 16
"""By which an image is mirrored at its edges before it is blurred, so that it does not meet its far side."""

_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)

_MAX_STEP = np.float32(65535)
_LIGHT_STEPS = np.arange(65536) / 65535
_SRGB = round_to_uint8(
    255 * np.where(_LIGHT_STEPS <= 0.0031308, 12.92 * _LIGHT_STEPS, 1.055 * _LIGHT_STEPS ** (1 / 2.4) - 0.055)
)
"""For steps of light, the darkest of which are a twentieth of a grey level: a table is ten times as fast as powers."""


def srgb_to_light(image: Rgb) -> Light:
    """By IEC 61966-2-1."""
    return _LINEAR.take(image)


def light_to_srgb(light: Light) -> Rgb:
    """The way back; what is darker than black or brighter than white is cut off."""
    return _SRGB[(np.clip(light, 0, 1) * _MAX_STEP + np.float32(0.5)).astype(np.uint16)]


def optical_transfer(frequency: npt.NDArray[np.float64], na: float, wavelength_um: float) -> npt.NDArray[np.float64]:
    """Of spatial frequencies in cycles/um, what share of the contrast passes the lens."""
    share = np.minimum(frequency * wavelength_um / (2 * na), 1.0)
    return np.asarray(2 / np.pi * (np.arccos(share) - share * np.sqrt(1 - share**2)))


def apply_lens(image: Rgb, mpp: float, na: float, wavelengths_um: Sequence[float]) -> Rgb:
    """(h, w, 3) of that pixel pitch to the same through a lens; a wavelength for red, green and blue each."""
    margin = [(_PADDING_PX, _PADDING_PX)] * 2
    down, along = image.shape[0] + 2 * _PADDING_PX, image.shape[1] + 2 * _PADDING_PX
    frequency = np.hypot(np.fft.fftfreq(down, mpp)[:, None], np.fft.rfftfreq(along, mpp))
    planes = []
    for plane, wavelength in zip(np.moveaxis(srgb_to_light(image), -1, 0), wavelengths_um, strict=True):
        spectrum = np.fft.rfft2(np.pad(plane, margin, mode="symmetric"))
        spectrum *= optical_transfer(frequency, na, wavelength).astype(np.float32)
        planes.append(np.fft.irfft2(spectrum, s=(down, along)).astype(np.float32))
    inner = slice(_PADDING_PX, -_PADDING_PX)
    return light_to_srgb(np.stack(planes, axis=-1)[inner, inner])


def add_sensor_noise(image: Rgb, electrons: float, read_electrons: float, random: np.random.Generator) -> Rgb:
    """(h, w, 3) with the noise of a sensor: of `electrons` at white, and of `read_electrons`, a standard deviation."""
    light = srgb_to_light(image)
    spread = np.sqrt(light * electrons + read_electrons**2) / electrons
    return light_to_srgb(light + spread * random.standard_normal(light.shape, np.float32))


def average_light(image: Rgb, scale: int) -> Rgb:
    """(h*scale, w*scale, 3) to (h, w, 3): the mean of the light, as larger pixels gather it."""
    light = srgb_to_light(image)
    parts = [light[top::scale, left::scale] for top in range(scale) for left in range(scale)]
    return light_to_srgb(np.add.reduce(parts) / np.float32(len(parts)))
