"""A level as segments side by side, all of one size; those at the right and the bottom reach over its border."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import WHITE, Rgb
from wsisr.parallel.threads import Crew

MOST_THREADS = 4
"""Decoding for one box."""

AT_ONCE_BYTES = 64 * 2**20
"""Of segments that are being decoded."""

Segment: TypeAlias = Callable[[int, Box], Rgb | None]
"""Index of a segment, and a box in its own px, to the pixels of the box; None where nothing is stored."""


@dataclass(frozen=True, slots=True)
class Mosaic:
    """Where the segments of a level lie; they are counted row by row."""

    size: Size
    segment: Size

    @property
    def across(self) -> int:
        """Segments in a row."""
        return -(-self.size.width // self.segment.width)

    @property
    def segment_bytes(self) -> int:
        return self.segment.pixels * 3

    def touched(self, box: Box) -> Iterator[tuple[int, Box]]:
        """Index and place of each segment that has pixels in a box within the level."""
        width, height = self.segment.width, self.segment.height
        for row in range(box.top // height, -(-box.bottom // height)):
            for column in range(box.left // width, -(-box.right // width)):
                yield row * self.across + column, Box.of(self.segment).moved(column * width, row * height)

    def read(self, box: Box, pixels_of: Segment, crew: Crew) -> Rgb:
        """Pixels of a box, (h, w, 3); white where nothing is stored and beyond the level."""
        pixels = np.empty((box.height, box.width, 3), np.uint8)
        inside = box.intersection(Box.of(self.size))
        if inside != box:
            pixels[:] = WHITE

        def paste(segment: tuple[int, Box]) -> None:
            index, place = segment
            common = place.intersection(inside)
            target = common.seen_from(box)
            part = pixels_of(index, common.seen_from(place))
            pixels[target.rows, target.columns] = WHITE if part is None else part

        crew.each(paste, self.touched(inside) if inside.size.pixels else ())
        return pixels

    @property
    def threads(self) -> int:
        """That may decode beside each other, so that what they hold stays small."""
        return max(1, min(MOST_THREADS, AT_ONCE_BYTES // self.segment_bytes))
