"""A level as segments of one size side by side; those at the right and the bottom reach over its border."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import WHITE, Rgb
from wsisr.parallel.threads import ThreadTeam

MAX_THREADS = 4
"""Threads that decode for one box."""

DECODING_BYTES = 64 * 2**20
"""Memory for segments that are being decoded at the same time."""

SegmentReader: TypeAlias = Callable[[int, Box], Rgb | None]
"""Index of a segment, and a box in the segment's own px, to the pixels of the box; None where nothing is stored."""


@dataclass(frozen=True, slots=True)
class TiledLevel:
    """A level divided into segments, which are counted row by row."""

    size: Size
    segment_size: Size
    """Width and height of every segment."""

    @property
    def segments_per_row(self) -> int:
        """Segments in a row of the level."""
        return -(-self.size.width // self.segment_size.width)

    @property
    def segment_count(self) -> int:
        return self.segments_per_row * -(-self.size.height // self.segment_size.height)

    @property
    def segment_bytes(self) -> int:
        return self.segment_size.pixel_count * 3

    def find_visible_size(self, index: int) -> Size:
        """Return the size of the part of a segment that lies within the level."""
        row, column = divmod(index, self.segments_per_row)
        width, height = self.segment_size.width, self.segment_size.height
        return Size(min(width, self.size.width - column * width), min(height, self.size.height - row * height))

    def find_segments(self, box: Box) -> Iterator[tuple[int, Box]]:
        """Yield index and box of each segment that has pixels in a box within the level."""
        width, height = self.segment_size.width, self.segment_size.height
        for row in range(box.top // height, -(-box.bottom // height)):
            for column in range(box.left // width, -(-box.right // width)):
                place = Box.from_size(self.segment_size).translate(column * width, row * height)
                yield row * self.segments_per_row + column, place

    def read_box(self, box: Box, read_segment: SegmentReader, team: ThreadTeam) -> Rgb:
        """Read a box as (h, w, 3); white where nothing is stored, and beyond the level."""
        pixels = np.empty((box.height, box.width, 3), np.uint8)
        inside = box.intersection(Box.from_size(self.size))
        if inside != box:
            pixels[:] = WHITE

        def paste(segment: tuple[int, Box]) -> None:
            index, place = segment
            common = place.intersection(inside)
            target = common.relative_to(box)
            part = read_segment(index, common.relative_to(place))
            pixels[target.rows, target.columns] = WHITE if part is None else part

        team.for_each(paste, self.find_segments(inside) if inside.size.pixel_count else ())
        return pixels

    @property
    def max_threads(self) -> int:
        """Threads that may decode at the same time within `DECODING_BYTES`."""
        return max(1, min(MAX_THREADS, DECODING_BYTES // self.segment_bytes))
