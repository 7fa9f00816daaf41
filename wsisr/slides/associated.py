"""Associated images: what a scanner stores beside the scan, such as label, macro and thumbnail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide

from wsisr.bounds import MAX_ASSOCIATED_PX
from wsisr.errors import SlideError, describe_error
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides.header_copy import provide_header
from wsisr.slides.readers.openslide import composite_over_white
from wsisr.slides.readers.tiff import is_tiff, open_tiff
from wsisr.slides.readers.tiff_segments import DECODING_ERRORS
from wsisr.slides.slide import SlideInfo


def read_associated_image(info: SlideInfo, name: str) -> Rgb:
    """Read an associated image by its name in `info.associated`, (h, w, 3) sRGB.

    Raises `SlideError` where the slide has none of that name, or a damaged one.
    """
    size = info.associated.get(name)
    if size is None:
        others = ", ".join(info.associated) or "none"
        raise SlideError(f"{info.path}: has no {name} image to keep; it has {others}")
    if not 0 < size.pixel_count <= MAX_ASSOCIATED_PX:
        raise SlideError(f"{info.path}: has a {name} image of {size} px, which no scanner takes; do not keep it")
    try:
        pixels = _read_by_openslide(info, name)
        if pixels is None:
            pixels = _read_by_tifffile(info, name)
    except (openslide.OpenSlideError, *DECODING_ERRORS) as error:
        reason = describe_error(error)
        raise SlideError(f"{info.path}: its {name} image cannot be decoded ({reason}); do not keep it") from error
    except SlideError as error:
        raise SlideError(f"{info.path}: its {name} image cannot be decoded; do not keep it") from error
    if pixels is None or pixels.shape != (size.height, size.width, 3):
        raise SlideError(f"{info.path}: its {name} image is not 8-bit RGB; do not keep it")
    return pixels


def _read_by_openslide(info: SlideInfo, name: str) -> Rgb | None:
    """Read an associated image through OpenSlide; None where OpenSlide does not know it, or does not read the slide."""
    with provide_header(info.path, with_images=True) as path:
        is_known = openslide.OpenSlide.detect_format(path) is not None
        if not is_known or (info.reader != "openslide" and not _is_read(path)):
            return None
        with openslide.OpenSlide(path) as handle:
            images = handle.associated_images
            return composite_over_white(np.asarray(images[name])) if name in images else None


def _is_read(path: Path) -> bool:
    """Whether OpenSlide opens a slide that it recognises: not in WebP, nor in most forms of JPEG 2000."""
    try:
        openslide.OpenSlide(path).close()
    except openslide.OpenSlideError:
        return False
    return True


def _read_by_tifffile(info: SlideInfo, name: str) -> Rgb | None:
    """Read an associated image through tifffile; None where the file holds none of 8-bit RGB under that name."""
    if not is_tiff(info.path):
        return None
    with open_tiff(info.path) as tiff:
        series = next((series for series in tiff.series if series.name.lower() == name), None)
        if series is None or series.dtype != np.uint8 or Size(*series.shape[1::-1]).pixel_count > MAX_ASSOCIATED_PX:
            return None
        pixels = np.asarray(series.asarray())
        return np.ascontiguousarray(pixels[..., :3]) if pixels.ndim == 3 and pixels.shape[2] in (3, 4) else None
