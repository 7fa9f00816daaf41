"""Colours of a slide turned into sRGB by its own ICC profile, box by box."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

from wsisr.errors import SlideError, in_words
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import WHITE, Rgb
from wsisr.slides.slide import Seen, Slide, SlideInfo


class InSrgb(Seen):
    """A slide seen in sRGB; it has no profile any more. Closing it closes the slide."""

    def __init__(self, slide: Slide) -> None:
        """Raises `SlideError` where the slide has no profile, or a damaged one: there is nothing to convert by."""
        self._transform = _transform(slide.info)
        colours = "converted from the slide's ICC profile to sRGB"
        super().__init__(slide, replace(slide.info, icc=None, colours=colours))

    def read(self, box: Box, level: int) -> Rgb:
        pixels = self._slide.read(box, level)
        if not box.size.pixels:
            return pixels
        converted = np.array(ImageCms.applyTransform(Image.fromarray(pixels), self._transform))
        converted[(pixels == WHITE).all(axis=2)] = WHITE  # where the slide has nothing it stays white
        return converted


def _transform(info: SlideInfo) -> ImageCms.ImageCmsTransform:
    if info.icc is None:
        raise SlideError(f"{info.path}: has no ICC profile to convert its colours by; leave --icc out")
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(info.icc))
        intent = ImageCms.Intent(ImageCms.getDefaultIntent(profile))
        return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB", intent)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise SlideError(f"{info.path}: its ICC profile cannot be used ({in_words(error)}); leave --icc out") from error
