"""Shrinking that gives a part of an image the pixels that shrinking the whole would give it."""

from __future__ import annotations

from wsisr.pixels import Kernel, Rgb, resize


def shrunken(image: Rgb, scale: int, kernel: Kernel) -> Rgb:
    """(h*scale, w*scale, 3) to (h, w, 3) by Pillow's filters, rows before columns whatever the image's shape.

    Pillow 13 begins with the columns where an image is more than twice as high as wide. As it rounds in between, the
    same pixels come out up to a grey level apart in a narrow part of an image and in the image.
    """
    height, width = image.shape[0] // scale, image.shape[1] // scale
    return resize(resize(image, width, image.shape[0], kernel), width, height, kernel)
