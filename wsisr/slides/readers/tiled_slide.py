"""A slide of tiled levels: what its readers share, apart from where a segment lies and how it is decoded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, Generic, TypeVar

from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.parallel.threads import ThreadTeam
from wsisr.slides.readers.tiled_level import TiledLevel
from wsisr.slides.slide import Slide, SlideInfo, make_read_error

CACHE_BYTES = 64 * 2**20
"""Decoded segments cached per slide, as neighbouring boxes touch the same ones; of strips, more."""

L = TypeVar("L", bound=TiledLevel)


class TiledSlide(Slide, Generic[L]):
    """A slide read from segments, which are decoded in several threads and kept for the next box."""

    decoding_errors: ClassVar[tuple[type[Exception], ...]]
    """Errors that reading and decoding a segment of a damaged file raise."""

    def __init__(self, info: SlideInfo, levels: Sequence[L], least_cached: int = 1) -> None:
        """Take what was found in the file; `least_cached` segments are cached, however large they are."""
        self._info, self._levels = info, levels
        self._closed = False
        largest = max(level.segment_bytes for level in levels)
        self._decode_cached = lru_cache(maxsize=max(least_cached, CACHE_BYTES // largest))(self._decode)
        self._team = ThreadTeam(min(level.max_threads for level in levels), "wsisr-decode")

    @property
    def info(self) -> SlideInfo:
        return self._info

    def read(self, box: Box, level: int) -> Rgb:
        self._require_open()
        self.info.get_level(level)
        try:
            return self._levels[level].read_box(
                box, lambda index, part: self._read_segment_part(level, index, part), self._team
            )
        except self.decoding_errors as error:
            raise make_read_error(self.info.path, level, box, error) from error

    def close(self) -> None:
        self._team.close()
        self._decode_cached.cache_clear()
        self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError(f"{self.info.path}: read after close")

    def _read_segment_part(self, level: int, index: int, box: Box) -> Rgb | None:
        """Return the pixels of a box within a segment; None where it is not stored, which is shown white."""
        return self._decode_cached(level, index)[box.rows, box.columns]

    @abstractmethod
    def _decode(self, level: int, index: int) -> Rgb:
        """Read and decode a whole segment."""
