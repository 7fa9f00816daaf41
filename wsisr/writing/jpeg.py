"""JPEG tiles: 8-bit YCbCr 4:2:0, each a whole file of its own. Both directions release the GIL."""

from __future__ import annotations

import imagecodecs
import numpy as np

from wsisr.pixels import Rgb


def encode(pixels: Rgb, tile_px: int, quality: int) -> bytes:
    """(h, w, 3) sRGB of at most one tile to the JPEG of a whole tile.

    The last row and column are repeated to the tile's edge: a sharp edge there would ring into the image.
    """
    below, right = tile_px - pixels.shape[0], tile_px - pixels.shape[1]
    whole = np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge") if below or right else pixels
    return bytes(
        imagecodecs.jpeg8_encode(whole, level=quality, colorspace="rgb", outcolorspace="ycbcr", subsampling="420")
    )


def decode(encoded: bytes) -> Rgb:
    """The JPEG of a tile to (tile_px, tile_px, 3) sRGB."""
    pixels: Rgb = imagecodecs.jpeg8_decode(encoded)
    return pixels
