"""A level as segments side by side, all of one size; those at the right and the bottom reach over its border."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from wsisr.geometry import Box, Size
from wsisr.pixels import Rgb

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

    def read(self, box: Box, pixels_of: Segment) -> Rgb:
        """Pixels of a box, (h, w, 3); white where nothing is stored and beyond the level."""
        pixels = np.full((box.height, box.width, 3), 255, np.uint8)
        inside = box.intersection(Box.of(self.size))
        for index, place in self.touched(inside) if inside.size.pixels else ():
            common = place.intersection(inside)
            part = pixels_of(index, common.moved(-place.left, -place.top))
            target = common.moved(-box.left, -box.top)
            if part is not None:
                pixels[target.rows, target.columns] = part
        return pixels
