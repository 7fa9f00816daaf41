"""Integer pixel geometry. x grows right, y grows down, boxes are half-open, in pixels of the level they are used on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int

    @property
    def pixel_count(self) -> int:
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
    def from_size(cls, size: Size) -> Box:
        """Return the box of a whole image of that size, at the origin."""
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

    def translate(self, dx: int, dy: int) -> Box:
        """Return the box moved by `dx` px to the right and `dy` px down."""
        return Box(self.left + dx, self.top + dy, self.right + dx, self.bottom + dy)

    def expand(self, px: int) -> Box:
        """Return the box with `px` more pixels on each side."""
        return Box(self.left - px, self.top - px, self.right + px, self.bottom + px)

    def widen_to_multiple(self, multiple: int, within: Box) -> Box:
        """Return the box widened to a multiple: to the right, else to the left, and never beyond `within`."""
        missing = -self.width % multiple
        right = min(self.right + missing, within.right)
        left = max(self.left - missing + right - self.right, within.left)
        return Box(left, self.top, right, self.bottom)

    def align_to(self, multiple: int, within: Box) -> Box:
        """Return the box with its left and top edge moved outwards to a multiple, counted from those of `within`."""
        left, top = self.left - (self.left - within.left) % multiple, self.top - (self.top - within.top) % multiple
        return Box(left, top, self.right, self.bottom)

    def relative_to(self, other: Box) -> Box:
        """Return the same pixels in the coordinates of another box, whose top left corner is the origin."""
        return self.translate(-other.left, -other.top)

    def intersection(self, other: Box) -> Box:
        """Return the common part; if there is none, its width or height is zero."""
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
