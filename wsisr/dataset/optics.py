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

from wsisr.imaging.pixels import Rgb, rounded

Light = npt.NDArray[np.float32]
"""(h, w, 3), linear, 0 for none to 1 for sRGB's white."""

_MARGIN_PX = 16
"""By which an image is mirrored at its edges before it is blurred, so that it does not meet its far side."""

_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)

_STEPS = np.float32(65535)
_PARTS = np.arange(65536) / 65535
_SRGB = rounded(255 * np.where(_PARTS <= 0.0031308, 12.92 * _PARTS, 1.055 * _PARTS ** (1 / 2.4) - 0.055))
"""For steps of light, the darkest of which are a twentieth of a grey level: a table is ten times as fast as powers."""


def light_of(image: Rgb) -> Light:
    """By IEC 61966-2-1."""
    return _LINEAR.take(image)


def srgb_of(light: Light) -> Rgb:
    """The way back; what is darker than black or brighter than white is cut off."""
    return _SRGB[(np.clip(light, 0, 1) * _STEPS + np.float32(0.5)).astype(np.uint16)]


def transfer(frequency: npt.NDArray[np.float64], na: float, wavelength_um: float) -> npt.NDArray[np.float64]:
    """Of spatial frequencies in cycles/um, what share of the contrast passes the lens."""
    share = np.minimum(frequency * wavelength_um / (2 * na), 1.0)
    return np.asarray(2 / np.pi * (np.arccos(share) - share * np.sqrt(1 - share**2)))


def through_lens(image: Rgb, mpp: float, na: float, wavelengths_um: Sequence[float]) -> Rgb:
    """(h, w, 3) of that pixel pitch to the same through a lens; a wavelength for red, green and blue each."""
    margin = [(_MARGIN_PX, _MARGIN_PX)] * 2
    down, along = image.shape[0] + 2 * _MARGIN_PX, image.shape[1] + 2 * _MARGIN_PX
    frequency = np.hypot(np.fft.fftfreq(down, mpp)[:, None], np.fft.rfftfreq(along, mpp))
    planes = []
    for plane, wavelength in zip(np.moveaxis(light_of(image), -1, 0), wavelengths_um, strict=True):
        spectrum = np.fft.rfft2(np.pad(plane, margin, mode="symmetric"))
        spectrum *= transfer(frequency, na, wavelength).astype(np.float32)
        planes.append(np.fft.irfft2(spectrum, s=(down, along)).astype(np.float32))
    inner = slice(_MARGIN_PX, -_MARGIN_PX)
    return srgb_of(np.stack(planes, axis=-1)[inner, inner])


def sensed(image: Rgb, electrons: float, read_electrons: float, random: np.random.Generator) -> Rgb:
    """(h, w, 3) with the noise of a sensor: of `electrons` at white, and of `read_electrons`, a standard deviation."""
    light = light_of(image)
    spread = np.sqrt(light * electrons + read_electrons**2) / electrons
    return srgb_of(light + spread * random.standard_normal(light.shape, np.float32))


def gathered(image: Rgb, scale: int) -> Rgb:
    """(h*scale, w*scale, 3) to (h, w, 3): the mean of the light, as larger pixels gather it."""
    light = light_of(image)
    parts = [light[top::scale, left::scale] for top in range(scale) for left in range(scale)]
    return srgb_of(np.add.reduce(parts) / np.float32(len(parts)))
