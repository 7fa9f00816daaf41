"""Headers and tables of segments of a TIFF that do not go together: such a picture must not be shown as a whole one.

libtiff 4.7 and tifffile 2026.3.3 compare them only where they decode. A table that is too short gives white in
OpenSlide's reader of Philips files, tifffile shows the beginning of segments that are longer than the header says, and
a segment without a place gives pixels made of the header's own bytes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import imagecodecs

from wsisr.bounds import MAX_TIFF_SEGMENT_BYTES
from wsisr.imaging.geometry import Size

_FIRST_DATA = 8
"""Bytes at the start of every TIFF that are no picture."""

_NONE = 1
_DECODERS = {
    5: imagecodecs.lzw_decode,
    32773: imagecodecs.packbits_decode,
    34926: imagecodecs.zstd_decode,
    50000: imagecodecs.zstd_decode,
}
"""Decoders by TIFF's Compression of which tifffile does not see that they give too much."""

_MAX_EXCESS_BYTES = 64 * 2**20
_SEPARATE, _YCBCR = 2, 6


class Contradiction(NamedTuple):
    """A header and a table of segments that do not go together."""

    words: str
    is_fatal: bool
    """Whether the picture would be wrong; a table that is too long may still be right in its beginning."""


def find_contradiction(page: Any) -> Contradiction | None:
    """Return how the header of a `tifffile.TiffPage` contradicts its tables of segments; None where it does not."""
    expected = count_segments(page)
    for listed in (page.dataoffsets, page.databytecounts):
        if len(listed) != expected:
            words = f"its header needs {expected} tiles or strips, its tables list {len(listed)}"
            return Contradiction(words, len(listed) < expected)
    stored = [(offset, count) for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True) if count]
    placeless = sum(offset < _FIRST_DATA for offset, _ in stored)
    if placeless:
        return Contradiction(
            f"{placeless} of its {expected} tiles or strips have bytes, and no place in the file", True
        )
    found, needed = _count_decoded_bytes(page, stored), _count_needed_bytes(page)
    if expected > 1 and found >= needed + read_segment_size(page).width:
        return Contradiction(f"its tiles or strips hold {found} bytes where the header says {needed}", True)
    return None


def read_segment_size(page: Any) -> Size:
    """Return the size of the tiles of a page, or of its strips, which are as wide as it is."""
    if page.is_tiled:
        return Size(max(page.tilewidth, 1), max(page.tilelength, 1))
    return Size(page.imagewidth, max(min(page.rowsperstrip, page.imagelength), 1))


def count_segments(page: Any) -> int:
    """Return how many segments the size in the header needs."""
    segment, planes = read_segment_size(page), page.samplesperpixel if page.planarconfig == _SEPARATE else 1
    return int(-(-page.imagewidth // segment.width) * -(-page.imagelength // segment.height) * planes)


def _count_needed_bytes(page: Any) -> int:
    return read_segment_size(page).pixel_count * (1 if page.planarconfig == _SEPARATE else int(page.samplesperpixel))


def _count_decoded_bytes(page: Any, stored: list[tuple[int, int]]) -> int:
    """Return the least bytes of an uncompressed segment, or those of the first one decoded; 0 where not known.

    Memory: up to four segments, at most 64 MiB beyond one.
    """
    if not stored or page.bitspersample != 8 or page.photometric == _YCBCR:
        return 0
    if page.compression == _NONE:
        return min(count for _, count in stored)
    decode, file, needed = _DECODERS.get(page.compression), page.parent.filehandle, _count_needed_bytes(page)
    if decode is None or needed > MAX_TIFF_SEGMENT_BYTES:
        return 0
    most = min(4 * needed, needed + _MAX_EXCESS_BYTES)
    file.seek(stored[0][0])
    try:
        return len(decode(file.read(min(stored[0][1], most)), out=most))
    except RuntimeError:
        return 0  # reading it says that it is damaged
