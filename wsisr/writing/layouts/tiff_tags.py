"""TIFF fields that every layout gives its images: pixels, compression, resolution, description."""

from __future__ import annotations

from wsisr.imaging.geometry import Size
from wsisr.writing.encoding.codec import SUBSAMPLINGS
from wsisr.writing.layouts.tiff_writer import (
    DESCRIPTION,
    SOFTWARE,
    SUBFILE_TYPE,
    TiffField,
    long_field,
    opaque_field,
    rational_field,
    short_field,
    text_field,
)
from wsisr.writing.spec import PyramidSpec

_ICC = 34675
_PHOTOMETRIC, _SUBSAMPLING = 262, 530
_RGB, _YCBCR = 2, 6


def build_first_fields(spec: PyramidSpec, description: bytes) -> dict[int, TiffField]:
    """Return the fields of the first image only: ICC profiles are large, and readers take metadata from there."""
    fields = {
        SUBFILE_TYPE: long_field(0),
        DESCRIPTION: text_field(description),
        SOFTWARE: text_field(spec.software.encode()),
    }
    return fields | ({_ICC: opaque_field(spec.icc)} if spec.icc else {})


def build_level_fields(spec: PyramidSpec, size: Size, number: int) -> dict[int, TiffField]:
    """Return the fields of a tiled level of the pyramid."""
    assert spec.codec.compression_method.tiff_compression is not None
    fields = build_pixel_fields(size, spec.codec.compression_method.tiff_compression)
    fields |= {322: short_field(spec.tile_px), 323: short_field(spec.tile_px)}
    if spec.codec.compression_method.has_predictor:
        fields[317] = short_field(2)
    if spec.codec.method == "jpeg":
        fields |= build_jpeg_fields(spec.codec.subsampling)
    if spec.mpp is not None:
        per_cm = rational_field(1e4 / (spec.mpp * 2**number))
        fields |= {282: per_cm, 283: per_cm, 296: short_field(3)}
    return fields


def build_jpeg_fields(subsampling: str) -> dict[int, TiffField]:
    """Return the fields that say how colours are stored in JPEG.

    Without subsampling there is no tag 530. Where it says (1, 1), Bio-Formats 7.3.1 converts decoded pixels to RGB once
    more, with colours far off; other readers find the factors in each JPEG itself, as libtiff does by design.
    """
    factors = SUBSAMPLINGS[subsampling]
    tag = {} if factors == (1, 1) else {_SUBSAMPLING: short_field(*factors)}
    return {_PHOTOMETRIC: short_field(_YCBCR), **tag}


def build_pixel_fields(size: Size, compression: int) -> dict[int, TiffField]:
    """Return the fields of 8-bit RGB pixels with interleaved channels."""
    return {
        256: long_field(size.width),
        257: long_field(size.height),
        258: short_field(8, 8, 8),
        259: short_field(compression),
        262: short_field(_RGB),
        277: short_field(3),
        284: short_field(1),
    }
