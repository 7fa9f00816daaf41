"""A slide whose colours are converted to sRGB by its own ICC profile, box by box."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

from wsisr.errors import SlideError, describe_error
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import WHITE, Rgb
from wsisr.slides.slide import Slide, SlideInfo, SlideWrapper

CONVERTED_TO_SRGB = "converted from the slide's ICC profile to sRGB"
"""Colour handling of a converted slide; results store the text."""


class SrgbSlide(SlideWrapper):
    """A slide in sRGB; its info has no ICC profile, as nothing is left to convert."""

    def __init__(self, slide: Slide) -> None:
        """Raises `SlideError` where the slide has no ICC profile, or a damaged one."""
        self._transform = _make_transform(slide.info)
        super().__init__(slide, replace(slide.info, icc=None, colour_handling=CONVERTED_TO_SRGB))

    def read(self, box: Box, level: int) -> Rgb:
        pixels = self._slide.read(box, level)
        if not box.size.pixel_count:
            return pixels
        converted = np.array(ImageCms.applyTransform(Image.fromarray(pixels), self._transform))
        converted[(pixels == WHITE).all(axis=2)] = WHITE  # unscanned area stays white
        return converted


def _make_transform(info: SlideInfo) -> ImageCms.ImageCmsTransform:
    if info.icc is None:
        raise SlideError(f"{info.path}: has no ICC profile to convert its colours by; leave --icc out")
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(info.icc))
        intent = ImageCms.Intent(ImageCms.getDefaultIntent(profile))
        return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB", intent)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise SlideError(
            f"{info.path}: its ICC profile cannot be used ({describe_error(error)}); leave --icc out"
        ) from error
