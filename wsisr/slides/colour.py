"""Colours of a slide turned into sRGB by its own ICC profile, box by box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

from wsisr.errors import SlideError, in_words
from wsisr.geometry import Box
from wsisr.pixels import Rgb
from wsisr.slides.holes import Hole
from wsisr.slides.slide import Slide, SlideInfo


class InSrgb(Slide):
    """A slide seen in sRGB; it has no profile any more. Closing it closes the slide."""

    def __init__(self, slide: Slide) -> None:
        """Raises `SlideError` where the slide has no profile, or a damaged one: there is nothing to convert by."""
        self._slide = slide
        self._transform = _transform(slide.info)
        self._info = replace(slide.info, icc=None, colours="converted from the slide's ICC profile to sRGB")

    @property
    def info(self) -> SlideInfo:
        return self._info

    @property
    def holes(self) -> Sequence[Hole]:
        return self._slide.holes

    def read(self, box: Box, level: int) -> Rgb:
        pixels = self._slide.read(box, level)
        if not box.size.pixels:
            return pixels
        converted = np.array(ImageCms.applyTransform(Image.fromarray(pixels), self._transform))
        converted[(pixels == 255).all(axis=2)] = 255  # where the slide has nothing it stays white
        return converted

    def close(self) -> None:
        self._slide.close()


def _transform(info: SlideInfo) -> ImageCms.ImageCmsTransform:
    if info.icc is None:
        raise SlideError(f"{info.path}: has no ICC profile to convert its colours by; leave --icc out")
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(info.icc))
        intent = ImageCms.Intent(ImageCms.getDefaultIntent(profile))
        return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB", intent)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise SlideError(f"{info.path}: its ICC profile cannot be used ({in_words(error)}); leave --icc out") from error
