"""The small images beside a pyramid: a label that says that the image is derived, and copies from the slide if asked.

Viewers show labels but hide metadata, so this text stands on every label, also on a copied one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import imagecodecs
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb
from wsisr.writing.layouts.tiff_tags import build_jpeg_fields, build_pixel_fields
from wsisr.writing.layouts.tiff_writer import TiffDraft, TiffField, long_field
from wsisr.writing.spec import PyramidSpec

LABEL_SIZE = Size(420, 420)
"""In px, about the size of a scanner's label image."""

_LZW, _JPEG, _ROWS_PER_STRIP = 5, 7, 278
_JPEG_QUALITY, _JPEG_SUBSAMPLING = 90, "444"


def build_associated_images(spec: PyramidSpec) -> Mapping[str, Rgb]:
    """Return the label and the copied images of the slide; (h, w, 3) sRGB by name."""
    drawn = draw_label(spec.title)
    copied = spec.associated_images.get("label")
    return {**spec.associated_images, "label": drawn if copied is None else _stack_images(copied, drawn)}


def draw_label(title: str) -> Rgb:
    """Draw a white label with `DERIVED IMAGE` and the title on it."""
    image = Image.new("RGB", (LABEL_SIZE.width, LABEL_SIZE.height), "white")
    lines = ["DERIVED IMAGE", "", *re.sub(r"(.{1,30})(?: +|$)", r"\1\n", title).splitlines()]
    ImageDraw.Draw(image).multiline_text((20, 20), "\n".join(lines), "black", ImageFont.load_default(24))
    return np.asarray(image)


def add_lzw_image(draft: TiffDraft, pixels: Rgb, fields: dict[int, TiffField]) -> None:
    """Write an image as one LZW strip: JPEG would blur the letters of a label."""
    size = Size(pixels.shape[1], pixels.shape[0])
    encoded = bytes(imagecodecs.lzw_encode(np.ascontiguousarray(pixels).tobytes()))
    draft.add_strip_image(build_pixel_fields(size, _LZW) | {_ROWS_PER_STRIP: long_field(size.height)} | fields, encoded)


def add_jpeg_image(draft: TiffDraft, pixels: Rgb, fields: dict[int, TiffField]) -> None:
    """Write an image as one JPEG strip, as Aperio does with thumbnails; opentile 0.22 reads these in nothing else."""
    size = Size(pixels.shape[1], pixels.shape[0])
    encoded = imagecodecs.jpeg8_encode(
        np.ascontiguousarray(pixels),
        level=_JPEG_QUALITY,
        colorspace="rgb",
        outcolorspace="ycbcr",
        subsampling=_JPEG_SUBSAMPLING,
    )
    colours = build_jpeg_fields(_JPEG_SUBSAMPLING)
    strip = {_ROWS_PER_STRIP: long_field(size.height)}
    draft.add_strip_image(build_pixel_fields(size, _JPEG) | colours | strip | fields, bytes(encoded))


def _stack_images(upper: Rgb, lower: Rgb) -> Rgb:
    """Put one image under the other, with white beside the narrower one."""
    width = max(upper.shape[1], lower.shape[1])
    padded = [
        np.pad(image, ((0, 0), (0, width - image.shape[1]), (0, 0)), constant_values=255) for image in (upper, lower)
    ]
    return np.concatenate(padded)
