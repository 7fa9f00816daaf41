"""Frames of annotations: from the pixels of a slide to those of a result made of it, and back.

Coordinates are GeoJSON as QuPath writes them: px of level 0, where 0, 0 is the corner of the first pixel, not its
centre. So a change of frame is a shift and a factor. Everything else in a file (properties, ids, classes, measurements)
stays.

QuPath counts from the corner of the scanned bounds where a slide records them; OpenSlide and ASAP from the canvas.
"""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from wsisr.errors import ConfigError, describe_error
from wsisr.imaging.geometry import Box, Size
from wsisr.tissue.annotation import load_geojson

_NUMBER = r"(-?\d{1,16}(?:\.\d{1,16})?(?:e(?:\+?\d\d?|-\d{1,3}))?)"
"""A number, of at most so many digits that what is computed from it is finite."""
_SMALLEST = 1e-9
"""Least number that others are divided by."""
_ORIGIN = re.compile(rf"{_NUMBER}, {_NUMBER} px of level 0")
_DOWNSAMPLE = re.compile(rf"{_NUMBER} px of level 0 per px")
_SIZE = re.compile(r"(\d{1,9}) x (\d{1,9}) px")
_SCALE = re.compile(r"[1-9]\d?")

GEOMETRY_KEYS = ("geometry", "nucleusGeometry")
"""Members of a feature that hold geometries; QuPath writes the nucleus of a cell beside its outline."""

_DEPTHS = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}
"""Lists around the positions of each kind of geometry."""

_CHILD_KEYS = {"FeatureCollection": ("features",), "GeometryCollection": ("geometries",), "Feature": GEOMETRY_KEYS}
"""Members that hold further GeoJSON, by type."""

DECIMALS = 4
"""Decimals of the coordinates that are written: a ten-thousandth of a pixel."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AnnotationFrame:
    """A change of frame: x and y are multiplied by a factor after the shift."""

    factor: float
    shift: tuple[float, float]
    """Added before the factor is applied, in px of the frame that coordinates come from."""

    def place(self, x: float, y: float) -> tuple[float, float]:
        return (x + self.shift[0]) * self.factor, (y + self.shift[1]) * self.factor

    def invert(self) -> AnnotationFrame:
        """Return the way back."""
        return AnnotationFrame(1 / self.factor, (-self.shift[0] * self.factor, -self.shift[1] * self.factor))

    def count_from(self, corner: tuple[float, float]) -> AnnotationFrame:
        """Return the same change for coordinates that count from a corner of the first frame."""
        return AnnotationFrame(self.factor, (self.shift[0] + corner[0], self.shift[1] + corner[1]))


@dataclass(frozen=True, slots=True)
class ResultFrame:
    """What a result records of the place and the size of its pixels in the slide."""

    size: Size
    """Of the result."""
    to_result: AnnotationFrame
    """From level-0 px of the slide's canvas to px of the result."""

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: Path) -> Self:
        """Raises `ConfigError` for a file that does not record where it lies."""
        origin = _ORIGIN.fullmatch(metadata.get("source origin", ""))
        downsample = _DOWNSAMPLE.fullmatch(metadata.get("source downsample", ""))
        size, scale = _SIZE.fullmatch(metadata.get("size", "")), _SCALE.fullmatch(metadata.get("scale", ""))
        if not (origin and downsample and size and scale and float(downsample[1]) > _SMALLEST):
            advice = "give a result of wsisr upscale" if not metadata else "make the result anew"
            raise ConfigError(f"{path}: does not record where it lies in its slide; {advice}")
        factor = int(scale[0]) / float(downsample[1])
        frame = AnnotationFrame(factor, (-float(origin[1]), -float(origin[2])))
        return cls(Size(int(size[1]), int(size[2])), frame)


@dataclass(frozen=True, slots=True)
class AnnotationOrigin:
    """What marks on a slide count from."""

    choice: str = "auto"
    """`canvas`, `bounds`, or `auto`, what hits the result."""
    bounds: Box | None = None
    """The scanned area of the slide, where it records one and the slide is at hand."""

    def choose_frame(self, document: Any, frame: ResultFrame, path: Path) -> AnnotationFrame:
        """Return the change from where the marks of a document count to the result.

        Raises `ConfigError` where both readings hit the result, or neither does.
        """
        from_canvas = frame.to_result
        if self.bounds is None or self.choice == "canvas":
            return from_canvas
        corner = self.bounds.left, self.bounds.top
        from_bounds = from_canvas.count_from(corner)
        if self.choice == "bounds" or corner == (0, 0):
            return from_bounds
        hits = [count_hits(document, each, Box.from_size(frame.size))[0] for each in (from_canvas, from_bounds)]
        if all(hits):
            raise ConfigError(
                f"{path}: may count from the canvas or, as QuPath does, from the scanned bounds at {corner[0]}, "
                f"{corner[1]} px; say which with --origin canvas or bounds"
            )
        return from_bounds if hits[1] else from_canvas

    def choose_target(self, frame: ResultFrame, path: Path) -> AnnotationFrame:
        """Return the change from the result to where marks on the slide are to count from.

        Raises `ConfigError` where nobody can say.
        """
        if self.bounds is None or self.choice == "canvas" or (self.bounds.left, self.bounds.top) == (0, 0):
            return frame.to_result.invert()
        if self.choice == "auto":
            raise ConfigError(
                f"{path}: the slide records scanned bounds, from which QuPath counts, and OpenSlide from the canvas; "
                "say which with --origin bounds or canvas"
            )
        return frame.to_result.count_from((self.bounds.left, self.bounds.top)).invert()


MAX_COORDINATE_PX = 1e9
"""Largest distance of a mark from the corner of its slide; beyond it, a coordinate is damaged."""

MAX_DEPTH = 32
"""Collections within collections: what QuPath writes has two levels."""


def read_features(path: Path) -> Any:
    """Return the content of a GeoJSON file, plain or gzip. Raises `ConfigError`, also for what is no GeoJSON."""
    try:
        document = load_geojson(path)
        for geometry in iterate_geometries(document):
            _check_coordinates(geometry)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{path}: is not GeoJSON ({describe_error(error)}); export it from QuPath") from error
    return document


def iterate_geometries(item: Any, depth: int = 0) -> Iterator[Json]:
    """Yield all geometries with coordinates, of a collection, a list of features, a feature or a geometry.

    Raises `ValueError` for more than `MAX_DEPTH` collections within each other.
    """
    if depth > 2 * MAX_DEPTH:  # each is an object and the list of its members
        raise ValueError(f"more than {MAX_DEPTH} collections lie within each other")
    if isinstance(item, list):
        for child in item:
            yield from iterate_geometries(child, depth + 1)
    elif item["type"] in _CHILD_KEYS:
        for key in _CHILD_KEYS[item["type"]]:
            if item.get(key) is not None:
                yield from iterate_geometries(item[key], depth + 1)
    else:
        yield item


def move_annotations(document: Any, frame: AnnotationFrame) -> Any:
    """Return GeoJSON, as `read_features` returns it, in another frame; all but coordinates and `bbox` stays."""
    if isinstance(document, list):
        return [move_annotations(child, frame) for child in document]
    moved, kind = dict(document), document["type"]
    if _is_bounding_box(moved.get("bbox")):
        moved["bbox"] = _move_bounding_box(moved["bbox"], frame)
    for key in _CHILD_KEYS.get(kind, ()):
        if moved.get(key) is not None:
            moved[key] = move_annotations(moved[key], frame)
    if kind in _DEPTHS:
        moved["coordinates"] = _move_positions(moved["coordinates"], _DEPTHS[kind], frame)
    return moved


def count_hits(document: Any, frame: AnnotationFrame, area: Box) -> tuple[int, int]:
    """Return how many geometries touch an area of the new frame with their bounding box, and how many there are."""
    boxes = [_bound_positions(geometry) for geometry in iterate_geometries(document)]
    hits = 0
    for left, top, right, bottom in boxes:
        (new_left, new_top), (new_right, new_bottom) = frame.place(left, top), frame.place(right, bottom)
        is_beside = new_right < area.left or new_left > area.right
        hits += not (is_beside or new_bottom < area.top or new_top > area.bottom)
    return hits, len(boxes)


def encode_features(document: Any, *, compressed: bool) -> bytes:
    """Return GeoJSON as bytes, gzip if compressed; the same content gives the same bytes.

    A measurement of QuPath's that is NaN stays so: as strict JSON it could be no number at all. Raises `ConfigError`.
    """
    try:
        text = json.dumps(document, separators=(",", ":")).encode()
    except RecursionError as error:
        raise ConfigError(
            "the properties of an annotation lie within each other too often; export them from QuPath"
        ) from error
    return gzip.compress(text, mtime=0) if compressed else text


def _check_coordinates(geometry: Json) -> None:
    if geometry["type"] not in _DEPTHS:
        raise ValueError(f"{geometry['type']!r} is no kind of geometry")
    for position in _iterate_positions(geometry["coordinates"], _DEPTHS[geometry["type"]]):
        if not all(type(value) in (int, float) and math.isfinite(value) for value in position[:2]):
            raise ValueError("a coordinate is not a number")
        if any(abs(value) > MAX_COORDINATE_PX for value in position[:2]):
            raise ValueError(f"a coordinate is beyond any slide, at more than {MAX_COORDINATE_PX:g} px")
        if len(position) < 2:
            raise ValueError("a position has fewer than two numbers")


def _is_bounding_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) in (4, 6)
        and all(type(value) in (int, float) and abs(value) <= MAX_COORDINATE_PX for value in box)
    )


def _iterate_positions(coordinates: Any, depth: int) -> Iterator[list[Any]]:
    if not isinstance(coordinates, list):
        raise TypeError("coordinates are no list")
    if depth == 0:
        yield coordinates
    else:
        for part in coordinates:
            yield from _iterate_positions(part, depth - 1)


def _bound_positions(geometry: Json) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a geometry; all infinite, which touches nothing, if it is empty."""
    positions = list(_iterate_positions(geometry["coordinates"], _DEPTHS[geometry["type"]]))
    if not positions:
        return math.inf, math.inf, math.inf, math.inf
    xs, ys = [position[0] for position in positions], [position[1] for position in positions]
    return min(xs), min(ys), max(xs), max(ys)


def _move_positions(coordinates: list[Any], depth: int, frame: AnnotationFrame) -> list[Any]:
    if depth:
        return [_move_positions(part, depth - 1, frame) for part in coordinates]
    x, y = frame.place(coordinates[0], coordinates[1])
    return [round(x, DECIMALS), round(y, DECIMALS), *coordinates[2:]]


def _move_bounding_box(box: list[float], frame: AnnotationFrame) -> list[float]:
    """Return a `bbox` member: left, top, right and bottom, or with a depth after each corner."""
    half = len(box) // 2
    corners = (_move_positions(box[:half], 0, frame), _move_positions(box[half:], 0, frame))
    return [*corners[0], *corners[1]]
