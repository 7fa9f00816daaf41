"""The small pictures beside a pyramid: a label that says what the image is, and what was asked for of the slide's own.

Viewers show labels where they hide metadata, so the words are on every label, a copied one too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import imagecodecs
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb
from wsisr.writing.layouts.tiff_tags import pixel_fields
from wsisr.writing.layouts.tiff_writer import Field, TiffDraft, longs
from wsisr.writing.spec import PyramidSpec

LABEL = Size(420, 420)
"""Px, about what scanners take of a label."""

_LZW, _ROWS_PER_STRIP = 5, 278


def companions(spec: PyramidSpec) -> Mapping[str, Rgb]:
    """A label with words, and what was asked for of the slide's own; (h, w, 3) sRGB by name."""
    words = drawn_label(spec.title)
    label = spec.pictures.get("label")
    return {**spec.pictures, "label": words if label is None else _below(label, words)}


def drawn_label(title: str) -> Rgb:
    """A white label with words on it."""
    image = Image.new("RGB", (LABEL.width, LABEL.height), "white")
    lines = ["DERIVED IMAGE", "", *re.sub(r"(.{1,30})(?: +|$)", r"\1\n", title).splitlines()]
    ImageDraw.Draw(image).multiline_text((20, 20), "\n".join(lines), "black", ImageFont.load_default(24))
    return np.asarray(image)


def add_strip(draft: TiffDraft, pixels: Rgb, fields: dict[int, Field]) -> None:
    """An image in one strip, in LZW: a label's letters would ring in JPEG."""
    size = Size(pixels.shape[1], pixels.shape[0])
    encoded = bytes(imagecodecs.lzw_encode(np.ascontiguousarray(pixels).tobytes()))
    draft.add_strip(pixel_fields(size, _LZW) | {_ROWS_PER_STRIP: longs(size.height)} | fields, encoded)


def _below(label: Rgb, words: Rgb) -> Rgb:
    """One under the other, white beside the narrower."""
    width = max(label.shape[1], words.shape[1])
    return np.concatenate(
        [np.pad(each, ((0, 0), (0, width - each.shape[1]), (0, 0)), constant_values=255) for each in (label, words)]
    )
