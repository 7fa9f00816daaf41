"""The effect of a lens and a sensor on light. Images are sRGB; light is the linear intensity of sRGB values.

The lens is a circular, aberration-free pupil in incoherent light, whose optical transfer function is known: for a
spatial frequency f and the cut-off c = 2 NA / wavelength,

    OTF(f) = 2/pi (arccos(f/c) - f/c sqrt(1 - (f/c)^2)),  0 beyond c

(Goodman, Introduction to Fourier Optics, 3rd ed., eq. 6-32; its point spread function is the Airy pattern).
Brightfield is nearly incoherent if the condenser is opened as far as the objective. The high resolution has a blur of
its own, which remains.

The noise of the sensor follows Foi et al., "Practical Poissonian-Gaussian noise modeling", IEEE TIP 17 (2008):
Gaussian, with the light in electrons plus the variance of reading as its variance. It is independent between pixels
and alike for all channels: no Bayer mosaic is simulated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import Rgb, round_to_uint8

Light = npt.NDArray[np.float32]
"""(h, w, 3), linear, from 0 to 1 for the white of sRGB."""

_PADDING_PX = 16
"""Width of the mirrored border around an image before a cyclic convolution, so that opposite edges do not mix."""

_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)

_MAX_STEP = np.float32(65535)
_LIGHT_STEPS = np.arange(65536) / 65535
_SRGB = round_to_uint8(
    255 * np.where(_LIGHT_STEPS <= 0.0031308, 12.92 * _LIGHT_STEPS, 1.055 * _LIGHT_STEPS ** (1 / 2.4) - 0.055)
)
"""sRGB for 65536 steps of light; the darkest are a twentieth of a grey level. Ten times as fast as powers."""


def srgb_to_light(image: Rgb) -> Light:
    """Convert sRGB to linear light by IEC 61966-2-1."""
    return _LINEAR.take(image)


def light_to_srgb(light: Light) -> Rgb:
    """Convert linear light to sRGB, clipped to black and white."""
    return _SRGB[(np.clip(light, 0, 1) * _MAX_STEP + np.float32(0.5)).astype(np.uint16)]


def optical_transfer(frequency: npt.NDArray[np.float64], na: float, wavelength_um: float) -> npt.NDArray[np.float64]:
    """Return the share of contrast that a lens transfers at spatial frequencies in cycles/um."""
    # Beyond the cut-off this share is 1 and nothing is transferred.
    share = np.minimum(frequency * wavelength_um / (2 * na), 1.0)
    return np.asarray(2 / np.pi * (np.arccos(share) - share * np.sqrt(1 - share**2)))


def apply_lens(image: Rgb, mpp: float, na: float, wavelengths_um: Sequence[float]) -> Rgb:
    """Blur (h, w, 3) of pixel size `mpp` by a lens; one wavelength each for red, green and blue."""
    padding = [(_PADDING_PX, _PADDING_PX)] * 2
    height, width = image.shape[0] + 2 * _PADDING_PX, image.shape[1] + 2 * _PADDING_PX
    frequency = np.hypot(np.fft.fftfreq(height, mpp)[:, None], np.fft.rfftfreq(width, mpp))
    planes = []
    for plane, wavelength in zip(np.moveaxis(srgb_to_light(image), -1, 0), wavelengths_um, strict=True):
        spectrum = np.fft.rfft2(np.pad(plane, padding, mode="symmetric"))
        spectrum *= optical_transfer(frequency, na, wavelength).astype(np.float32)
        planes.append(np.fft.irfft2(spectrum, s=(height, width)).astype(np.float32))
    inner = slice(_PADDING_PX, -_PADDING_PX)
    return light_to_srgb(np.stack(planes, axis=-1)[inner, inner])


def add_sensor_noise(image: Rgb, electrons: float, read_electrons: float, random: np.random.Generator) -> Rgb:
    """Add sensor noise to (h, w, 3): `electrons` at white, read noise of standard deviation `read_electrons`."""
    light = srgb_to_light(image)
    sigma = np.sqrt(light * electrons + read_electrons**2) / electrons
    return light_to_srgb(light + sigma * random.standard_normal(light.shape, np.float32))


def average_light(image: Rgb, scale: int) -> Rgb:
    """Shrink (h*scale, w*scale, 3) to (h, w, 3) by the mean of light, as larger pixels collect it."""
    light = srgb_to_light(image)
    phases = [light[top::scale, left::scale] for top in range(scale) for left in range(scale)]
    return light_to_srgb(np.add.reduce(phases) / np.float32(len(phases)))
