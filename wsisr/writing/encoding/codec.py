"""How a stored tile is coded: a method, its settings, both directions. Tiles are square; calls release the GIL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import google_crc32c
import imagecodecs
import numpy as np

from wsisr.errors import OutputError
from wsisr.imaging.pixels import Rgb, extended


@dataclass(frozen=True, slots=True)
class Codec:
    """A method with its settings. Raises `OutputError` where there is none like that."""

    method: str = "jpeg"
    """A name in `METHODS`."""
    quality: int = 90
    """Of what loses detail, 1 to 100; the others ignore it."""
    subsampling: str = "444"
    """Chroma of a JPEG: `444` stores a colour for each pixel, `420` one for four.

    At quality 90 that takes a fifth to a third less room, and 0.2 to 0.4 dB from what the networks gain (measured by
    `tests.bench output_codecs`), so it has to be asked for."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise OutputError(f"there is no codec {self.method}; choose {', '.join(METHODS)}")
        if not 1 <= self.quality <= 100:
            raise OutputError(f"quality {self.quality} does not exist; choose 1 to 100")
        if self.subsampling not in SUBSAMPLINGS:
            raise OutputError(f"subsampling {self.subsampling} is not written; choose {' or '.join(SUBSAMPLINGS)}")

    @property
    def coding(self) -> Method:
        return METHODS[self.method]

    @property
    def said(self) -> str:
        """In words."""
        lossy = {"jpeg": f", quality {self.quality}, {self.subsampling}", "webp": f", quality {self.quality}"}
        return self.method + lossy.get(self.method, ", without loss")

    @classmethod
    def told(cls, words: str) -> Codec | None:
        """The codec of which these are the words; None where they are of none."""
        method, quality, subsampling = [*words.replace("quality ", "").split(", "), "", ""][:3]
        try:
            codec = cls(
                method, int(quality) if quality.isdecimal() else cls().quality, subsampling or cls().subsampling
            )
        except OutputError:
            return None
        return codec if codec.said == words else None

    def check_viewers(self, *, accept_limited: bool) -> None:
        """Raise `OutputError` where a common reader does not open such tiles, unless that is accepted."""
        if self.coding.blind and not accept_limited:
            raise OutputError(
                f"codec {self.method} does not open in {self.coding.blind}; "
                "take jpeg, deflate or lzw, or add --accept-limited-viewers"
            )

    def encode(self, pixels: Rgb, tile_px: int) -> bytes:
        """(h, w, 3) sRGB of at most one tile to the code of a whole tile; one that is all white to `white`.

        The last row and column are repeated to the tile's edge: a sharp edge there would ring into the image.
        """
        if pixels[0, 0, 0] == 255 and pixels.min() == 255:
            return self.white(tile_px)
        below, right = tile_px - pixels.shape[0], tile_px - pixels.shape[1]
        return self.coding.encode(np.ascontiguousarray(extended(pixels, below, right)), self)

    def decode(self, encoded: bytes, tile_px: int) -> Rgb:
        """The code of a tile to (tile_px, tile_px, 3) sRGB."""
        return self.coding.decode(encoded, tile_px)

    def white(self, tile_px: int) -> bytes:
        """The one code of a tile of pure white, which also decodes to pure white, whatever the quality."""
        return _white(self, tile_px)


SUBSAMPLINGS = {"420": (2, 2), "444": (1, 1)}
"""Of JPEG's chroma, with what TIFF calls them."""


@dataclass(frozen=True, slots=True)
class Method:
    """A way of coding."""

    compression: int | None
    """TIFF tag 259; None for what no TIFF holds."""
    encode: Callable[[Rgb, Codec], bytes]
    decode: Callable[[bytes, int], Rgb]
    exact: bool = True
    """Whether what is decoded is what was encoded."""
    predictor: bool = False
    """Whether differences between neighbours in a row are coded (TIFF tag 317)."""
    blind: str = ""
    """Readers that do not open it."""


def _jpeg(pixels: Rgb, codec: Codec) -> bytes:
    return bytes(
        imagecodecs.jpeg8_encode(
            pixels, level=codec.quality, colorspace="rgb", outcolorspace="ycbcr", subsampling=codec.subsampling
        )
    )


def _unjpeg(encoded: bytes, _tile_px: int) -> Rgb:
    pixels: Rgb = imagecodecs.jpeg8_decode(encoded)
    return pixels


def _deflate(pixels: Rgb, _codec: Codec) -> bytes:
    return bytes(imagecodecs.deflate_encode(pixels.tobytes(), level=6))


def _undeflate(encoded: bytes, tile_px: int) -> Rgb:
    return _shaped(imagecodecs.deflate_decode(encoded, out=3 * tile_px**2), tile_px, tile_px, 3)


def _lzw(pixels: Rgb, _codec: Codec) -> bytes:
    return bytes(imagecodecs.lzw_encode(_delta(pixels)))


def _unlzw(encoded: bytes, tile_px: int) -> Rgb:
    return _undelta(imagecodecs.lzw_decode(encoded, out=3 * tile_px**2), tile_px)


def _delta(pixels: Rgb) -> bytes:
    # imagecodecs 2026.3.6 takes many times as long for this as NumPy does.
    differences = pixels.copy()
    differences[:, 1:] -= pixels[:, :-1]
    return differences.tobytes()


def _undelta(differences: bytes | bytearray, tile_px: int) -> Rgb:
    pixels: Rgb = imagecodecs.delta_decode(_shaped(differences, tile_px, tile_px, 3), axis=-2)
    return pixels


def _zstd(pixels: Rgb, _codec: Codec) -> bytes:
    return bytes(imagecodecs.zstd_encode(_delta(pixels)))


def _unzstd(encoded: bytes, tile_px: int) -> Rgb:
    return _undelta(imagecodecs.zstd_decode(encoded, out=3 * tile_px**2), tile_px)


def _planar_zstd(pixels: Rgb, _codec: Codec) -> bytes:
    coded = bytes(imagecodecs.zstd_encode(pixels.transpose(2, 0, 1).tobytes(), level=ZSTD_LEVEL))
    checksum: int = google_crc32c.value(coded)
    return coded + checksum.to_bytes(4, "little")


def _unplanar_zstd(encoded: bytes, tile_px: int) -> Rgb:
    planes = imagecodecs.zstd_decode(encoded[:-4], out=3 * tile_px**2)
    return _shaped(planes, 3, tile_px, tile_px).transpose(1, 2, 0)


def _webp(pixels: Rgb, codec: Codec) -> bytes:
    return bytes(imagecodecs.webp_encode(pixels, level=codec.quality, lossless=False))


def _unwebp(encoded: bytes, _tile_px: int) -> Rgb:
    pixels: Rgb = imagecodecs.webp_decode(encoded, hasalpha=False)
    return pixels


def _jpeg2000(pixels: Rgb, _codec: Codec) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", reversible=True, mct=True))


def _unjpeg2000(encoded: bytes, _tile_px: int) -> Rgb:
    pixels: Rgb = imagecodecs.jpeg2k_decode(encoded)
    return pixels


def _shaped(data: bytes | bytearray, *shape: int) -> Rgb:
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


ZSTD_LEVEL = 3
"""Of planes; higher ones gain 2 % of the bytes for half the speed."""

METHODS = {
    "jpeg": Method(7, _jpeg, _unjpeg, exact=False),
    "deflate": Method(8, _deflate, _undeflate),  # cuCIM 26.10 dies of a predictor here, though not with lzw
    "lzw": Method(5, _lzw, _unlzw, predictor=True),
    "zstd": Method(50000, _zstd, _unzstd, predictor=True, blind="cuCIM"),
    "webp": Method(50001, _webp, _unwebp, exact=False, blind="OpenSlide and Bio-Formats"),
    "jpeg2000": Method(34712, _jpeg2000, _unjpeg2000, blind="OpenSlide and cuCIM"),
    "planar-zstd": Method(None, _planar_zstd, _unplanar_zstd),
}
"""Names to methods. `planar-zstd` is a chunk of a zarr, with a checksum."""

TIFF_METHODS = {name: name for name, method in METHODS.items() if method.compression is not None}
"""What a TIFF may hold, by the name that a person gives."""


@lru_cache(maxsize=16)
def _white(codec: Codec, tile_px: int) -> bytes:
    # Many qualities round white to 254. A JPEG tile brings its own tables, so this one may be of another quality.
    finest = Codec(codec.method, 100, codec.subsampling)
    return codec.coding.encode(np.full((tile_px, tile_px, 3), 255, dtype=np.uint8), finest)
