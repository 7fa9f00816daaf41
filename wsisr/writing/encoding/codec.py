"""Encodes and decodes stored tiles. Tiles are square; calls release Python's interpreter lock (GIL)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import google_crc32c
import imagecodecs
import numpy as np

from wsisr.errors import OutputError
from wsisr.imaging.pixels import Rgb, pad_by_repetition


@dataclass(frozen=True, slots=True)
class Codec:
    """A compression method with its settings. Raises `OutputError` if a setting does not exist."""

    method: str = "jpeg"
    """A name in `COMPRESSION_METHODS`."""
    quality: int = 90
    """Quality of lossy methods, 1 to 100; lossless methods ignore it."""
    subsampling: str = "444"
    """Chroma subsampling of JPEG: `444` stores a colour for each pixel, `420` one for four pixels.

    At quality 90, `420` takes a fifth to a third fewer bytes and costs 0.2 to 0.4 dB of what the networks gain
    (measured by `tests.bench output_codecs`), so it is not the default."""

    def __post_init__(self) -> None:
        if self.method not in COMPRESSION_METHODS:
            raise OutputError(f"there is no codec {self.method}; choose {', '.join(COMPRESSION_METHODS)}")
        if not 1 <= self.quality <= 100:
            raise OutputError(f"quality {self.quality} does not exist; choose 1 to 100")
        if self.subsampling not in SUBSAMPLINGS:
            raise OutputError(f"subsampling {self.subsampling} is not written; choose {' or '.join(SUBSAMPLINGS)}")

    @property
    def compression_method(self) -> CompressionMethod:
        return COMPRESSION_METHODS[self.method]

    @property
    def description(self) -> str:
        """The codec as text, as it is stored in the metadata of outputs."""
        lossy = {"jpeg": f", quality {self.quality}, {self.subsampling}", "webp": f", quality {self.quality}"}
        return self.method + lossy.get(self.method, ", without loss")

    @classmethod
    def parse(cls, description: str) -> Codec | None:
        """Return the codec with this description; None if there is none."""
        method, quality, subsampling = [*description.replace("quality ", "").split(", "), "", ""][:3]
        default = cls()
        try:
            codec = cls(
                method, int(quality) if quality.isdecimal() else default.quality, subsampling or default.subsampling
            )
        except OutputError:
            return None
        return codec if codec.description == description else None

    def check_viewers(self, *, accept_limited: bool) -> None:
        """Raise `OutputError` if a common reader cannot decode such tiles, unless `accept_limited`."""
        if self.compression_method.unsupported_readers and not accept_limited:
            raise OutputError(
                f"codec {self.method} does not open in {self.compression_method.unsupported_readers}; "
                "take jpeg, deflate or lzw, or add --accept-limited-viewers"
            )

    def encode(self, pixels: Rgb, tile_px: int) -> bytes:
        """(h, w, 3) sRGB, at most one tile, to the bytes of a whole tile; an all-white one to `white_tile`.

        The last row and column are repeated to the tile's edge: a sharp edge there would ring into the image.
        """
        if pixels[0, 0, 0] == 255 and pixels.min() == 255:
            return self.white_tile(tile_px)
        below, right = tile_px - pixels.shape[0], tile_px - pixels.shape[1]
        return self.compression_method.encode(np.ascontiguousarray(pad_by_repetition(pixels, below, right)), self)

    def decode(self, encoded: bytes, tile_px: int) -> Rgb:
        """Bytes of a tile to (tile_px, tile_px, 3) sRGB."""
        return self.compression_method.decode(encoded, tile_px)

    def white_tile(self, tile_px: int) -> bytes:
        """Return the bytes that stand for an all-white tile; they decode to pure white whatever the quality."""
        return _encode_white_tile(self, tile_px)


SUBSAMPLINGS = {"420": (2, 2), "444": (1, 1)}
"""Names of JPEG chroma subsamplings to the values of TIFF tag 530."""


@dataclass(frozen=True, slots=True)
class CompressionMethod:
    """How one method encodes and decodes a tile, and how a TIFF names it."""

    tiff_compression: int | None
    """Value of TIFF tag 259; None for a method that no TIFF holds."""
    encode: Callable[[Rgb, Codec], bytes]
    decode: Callable[[bytes, int], Rgb]
    is_lossless: bool = True
    """Whether decoding returns exactly the encoded pixels."""
    has_predictor: bool = False
    """Whether differences between neighbouring pixels of a row are stored (TIFF tag 317)."""
    unsupported_readers: str = ""
    """Common readers that cannot decode it, by `python -m tests.bench readers --codecs`."""


def _encode_jpeg(pixels: Rgb, codec: Codec) -> bytes:
    return bytes(
        imagecodecs.jpeg8_encode(
            pixels, level=codec.quality, colorspace="rgb", outcolorspace="ycbcr", subsampling=codec.subsampling
        )
    )


def _decode_jpeg(encoded: bytes, _tile_px: int) -> Rgb:
    pixels: Rgb = imagecodecs.jpeg8_decode(encoded)
    return pixels


def _encode_deflate(pixels: Rgb, _codec: Codec) -> bytes:
    return bytes(imagecodecs.deflate_encode(pixels.tobytes(), level=6))


def _decode_deflate(encoded: bytes, tile_px: int) -> Rgb:
    return _reshape_bytes(imagecodecs.deflate_decode(encoded, out=3 * tile_px**2), tile_px, tile_px, 3)


def _encode_lzw(pixels: Rgb, _codec: Codec) -> bytes:
    return bytes(imagecodecs.lzw_encode(_apply_predictor(pixels)))


def _decode_lzw(encoded: bytes, tile_px: int) -> Rgb:
    return _undo_predictor(imagecodecs.lzw_decode(encoded, out=3 * tile_px**2), tile_px)


def _apply_predictor(pixels: Rgb) -> bytes:
    # NumPy does this many times faster than imagecodecs 2026.3.6.
    differences = pixels.copy()
    differences[:, 1:] -= pixels[:, :-1]
    return differences.tobytes()


def _undo_predictor(differences: bytes | bytearray, tile_px: int) -> Rgb:
    pixels: Rgb = imagecodecs.delta_decode(_reshape_bytes(differences, tile_px, tile_px, 3), axis=-2)
    return pixels


def _encode_zstd(pixels: Rgb, _codec: Codec) -> bytes:
    return bytes(imagecodecs.zstd_encode(_apply_predictor(pixels)))


def _decode_zstd(encoded: bytes, tile_px: int) -> Rgb:
    return _undo_predictor(imagecodecs.zstd_decode(encoded, out=3 * tile_px**2), tile_px)


def _encode_planar_zstd(pixels: Rgb, _codec: Codec) -> bytes:
    encoded = bytes(imagecodecs.zstd_encode(pixels.transpose(2, 0, 1).tobytes(), level=ZSTD_LEVEL))
    checksum: int = google_crc32c.value(encoded)
    return encoded + checksum.to_bytes(4, "little")


def _decode_planar_zstd(encoded: bytes, tile_px: int) -> Rgb:
    planes = imagecodecs.zstd_decode(encoded[:-4], out=3 * tile_px**2)
    return _reshape_bytes(planes, 3, tile_px, tile_px).transpose(1, 2, 0)


def _encode_webp(pixels: Rgb, codec: Codec) -> bytes:
    return bytes(imagecodecs.webp_encode(pixels, level=codec.quality, lossless=False))


def _decode_webp(encoded: bytes, _tile_px: int) -> Rgb:
    pixels: Rgb = imagecodecs.webp_decode(encoded, hasalpha=False)
    return pixels


def _encode_jpeg2000(pixels: Rgb, _codec: Codec) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", reversible=True, mct=True))


def _encode_jpeg2000_rgb(pixels: Rgb, _codec: Codec) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", reversible=True, mct=False))


def _decode_jpeg2000(encoded: bytes, _tile_px: int) -> Rgb:
    pixels: Rgb = imagecodecs.jpeg2k_decode(encoded)
    return pixels


def _reshape_bytes(data: bytes | bytearray, *shape: int) -> Rgb:
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


ZSTD_LEVEL = 3
"""Level for OME-Zarr chunks; higher levels save 2 % of the bytes at half the speed."""

COMPRESSION_METHODS = {
    "jpeg": CompressionMethod(7, _encode_jpeg, _decode_jpeg, is_lossless=False),
    # No predictor: cuCIM 26.10 crashes on deflate with one, though not on lzw.
    "deflate": CompressionMethod(8, _encode_deflate, _decode_deflate),
    "lzw": CompressionMethod(5, _encode_lzw, _decode_lzw, has_predictor=True),
    "zstd": CompressionMethod(
        50000, _encode_zstd, _decode_zstd, has_predictor=True, unsupported_readers="cuCIM, slideio and pyvips-binary"
    ),
    "webp": CompressionMethod(
        50001,
        _encode_webp,
        _decode_webp,
        is_lossless=False,
        unsupported_readers="OpenSlide, cuCIM, slideio, fastslide and Bio-Formats",
    ),
    "jpeg2000": CompressionMethod(
        34712, _encode_jpeg2000, _decode_jpeg2000, unsupported_readers="OpenSlide, cuCIM and pyvips-binary"
    ),
    "planar-zstd": CompressionMethod(None, _encode_planar_zstd, _decode_planar_zstd),
    "jpeg2000-rgb": CompressionMethod(None, _encode_jpeg2000_rgb, _decode_jpeg2000),
}
"""Names to methods. `planar-zstd` is a chunk of an OME-Zarr, followed by its CRC-32C. `jpeg2000-rgb` is a frame of a
DICOM file, without the component transform that fastslide refuses there."""

TIFF_METHODS = {name: name for name, method in COMPRESSION_METHODS.items() if method.tiff_compression is not None}
"""The methods that a TIFF may hold, by the codec name that users give."""


@lru_cache(maxsize=16)
def _encode_white_tile(codec: Codec, tile_px: int) -> bytes:
    # Many JPEG qualities decode white to 254. Each tile brings its own tables, so this one may have quality 100.
    best = Codec(codec.method, 100, codec.subsampling)
    return codec.compression_method.encode(np.full((tile_px, tile_px, 3), 255, dtype=np.uint8), best)
