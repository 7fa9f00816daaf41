"""Integer pixel geometry. x grows right, y grows down, boxes are half-open, in pixels of the level they are used on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height

    def __mul__(self, factor: int) -> Size:
        return Size(self.width * factor, self.height * factor)

    def __str__(self) -> str:
        return f"{self.width} x {self.height}"


@dataclass(frozen=True, slots=True)
class Box:
    """Pixels with left <= x < right and top <= y < bottom."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def of(cls, size: Size) -> Box:
        return cls(0, 0, size.width, size.height)

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def size(self) -> Size:
        return Size(self.width, self.height)

    def __mul__(self, factor: int) -> Box:
        return Box(self.left * factor, self.top * factor, self.right * factor, self.bottom * factor)

    def moved(self, dx: int, dy: int) -> Box:
        return Box(self.left + dx, self.top + dy, self.right + dx, self.bottom + dy)

    def grown(self, by: int) -> Box:
        """By so many pixels on each side."""
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by)

    def widened(self, unit: int, within: Box) -> Box:
        """To a multiple of `unit` in width, to the right or else to the left, as far as another box reaches."""
        missing = -self.width % unit
        right = min(self.right + missing, within.right)
        left = max(self.left - missing + right - self.right, within.left)
        return Box(left, self.top, right, self.bottom)

    def seen_from(self, other: Box) -> Box:
        """The same pixels, counted from the corner of another box."""
        return self.moved(-other.left, -other.top)

    def intersection(self, other: Box) -> Box:
        """The common part; of zero width or height where there is none."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        return Box(left, top, max(left, min(self.right, other.right)), max(top, min(self.bottom, other.bottom)))

    def contains(self, other: Box) -> bool:
        return self.intersection(other) == other

    @property
    def rows(self) -> slice:
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.right)
