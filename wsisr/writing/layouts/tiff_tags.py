"""TIFF fields that every layout gives an image: its pixels, their coding, their pitch; and its companions' pixels."""

from __future__ import annotations

from wsisr.imaging.geometry import Size
from wsisr.writing.encoding.codec import SUBSAMPLINGS
from wsisr.writing.layouts.tiff_writer import (
    DESCRIPTION,
    SOFTWARE,
    SUBFILE_TYPE,
    Field,
    longs,
    opaque,
    ratio,
    shorts,
    text,
)
from wsisr.writing.spec import PyramidSpec

_ICC = 34675
_RGB, _YCBCR = 2, 6


def first_fields(spec: PyramidSpec, description: bytes) -> dict[int, Field]:
    """What only the first image has: profiles are large, and readers look nowhere else for the description."""
    fields = {SUBFILE_TYPE: longs(0), DESCRIPTION: text(description), SOFTWARE: text(spec.software.encode())}
    return fields | ({_ICC: opaque(spec.icc)} if spec.icc else {})


def level_fields(spec: PyramidSpec, size: Size, number: int) -> dict[int, Field]:
    """A tiled level of the pyramid."""
    assert spec.codec.coding.compression is not None
    fields = pixel_fields(size, spec.codec.coding.compression)
    fields |= {322: shorts(spec.tile_px), 323: shorts(spec.tile_px)}
    if spec.codec.coding.predictor:
        fields[317] = shorts(2)
    if spec.codec.method == "jpeg":
        fields |= {262: shorts(_YCBCR), 530: shorts(*SUBSAMPLINGS[spec.codec.subsampling])}
    if spec.mpp is not None:
        per_cm = ratio(1e4 / (spec.mpp * 2**number))
        fields |= {282: per_cm, 283: per_cm, 296: shorts(3)}
    return fields


def pixel_fields(size: Size, compression: int) -> dict[int, Field]:
    """8-bit RGB, channels together."""
    return {
        256: longs(size.width),
        257: longs(size.height),
        258: shorts(8, 8, 8),
        259: shorts(compression),
        262: shorts(_RGB),
        277: shorts(3),
        284: shorts(1),
    }
