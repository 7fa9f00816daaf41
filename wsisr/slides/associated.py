"""The pictures that a scanner stores beside the scan: label, macro, thumbnail."""

from __future__ import annotations

import numpy as np
import openslide

from wsisr.errors import SlideError, in_words
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides.readers.openslide import over_white
from wsisr.slides.readers.tiff import is_tiff, opened_tiff
from wsisr.slides.readers.tiff_segments import DECODING_ERRORS
from wsisr.slides.slide import SlideInfo

LARGEST_PX = 2**26
"""More than any has."""


def associated_image(info: SlideInfo, name: str) -> Rgb:
    """One of `info.associated`, (h, w, 3) sRGB. Raises `SlideError` where there is none, or a damaged one."""
    size = info.associated.get(name)
    if size is None:
        others = ", ".join(info.associated) or "none"
        raise SlideError(f"{info.path}: has no {name} image to keep; it has {others}")
    if not 0 < size.pixels <= LARGEST_PX:
        raise SlideError(f"{info.path}: has a {name} image of {size} px, which no scanner takes; do not keep it")
    try:
        found = _by_openslide(info, name)
        pixels = _by_tifffile(info, name) if found is None else found
    except (openslide.OpenSlideError, *DECODING_ERRORS) as error:
        reason = in_words(error)
        raise SlideError(f"{info.path}: its {name} image cannot be decoded ({reason}); do not keep it") from error
    except SlideError as error:
        raise SlideError(f"{info.path}: its {name} image cannot be decoded; do not keep it") from error
    if pixels is None or pixels.shape != (size.height, size.width, 3):
        raise SlideError(f"{info.path}: its {name} image is not 8-bit RGB; do not keep it")
    return pixels


def _by_openslide(info: SlideInfo, name: str) -> Rgb | None:
    """None where OpenSlide does not know it."""
    if openslide.OpenSlide.detect_format(info.path) is None:
        return None
    with openslide.OpenSlide(info.path) as handle:
        images = handle.associated_images
        return over_white(np.asarray(images[name])) if name in images else None


def _by_tifffile(info: SlideInfo, name: str) -> Rgb | None:
    """None where there is none of 8-bit RGB."""
    if not is_tiff(info.path):
        return None
    with opened_tiff(info.path) as tiff:
        series = next((each for each in tiff.series if each.name.lower() == name), None)
        if series is None or series.dtype != np.uint8 or Size(*series.shape[1::-1]).pixels > LARGEST_PX:
            return None
        pixels = np.asarray(series.asarray())
        return np.ascontiguousarray(pixels[..., :3]) if pixels.ndim == 3 and pixels.shape[2] in (3, 4) else None
