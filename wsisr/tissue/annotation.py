"""Tissue marked by a person or another program: a mask picture, or GeoJSON annotations as QuPath writes them.

Where a scanner's canvas is larger than what it scanned, programs count from either corner: OpenSlide and ASAP from the
canvas, QuPath from the scanned bounds (qupath#820, qupath#1278). The file does not say which. A reading by which no
mark touches the scan is wrong; where both touch it, and mark different places, the user is asked.

Both kinds of files are untrusted: sizes are checked before anything is decoded, and what is not understood is refused.
"""

from __future__ import annotations

import json
import math
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from wsisr.bounds import (
    MAX_DRAWN_PX,
    MAX_GEOJSON_BYTES,
    MAX_GEOJSON_VALUES,
    MAX_MASK_PX,
    MAX_OUTLINE_PX,
    PICTURE_FORMATS,
)
from wsisr.errors import AnnotationError, AnnotationNotFoundError, describe_error
from wsisr.files import describe_special_file
from wsisr.imaging.geometry import Box, Size
from wsisr.tissue.map import BoolMask, TissueMap

MASK_ADVICE = "give a picture whose tissue is not black (PNG, JPEG, TIFF), a GeoJSON file, auto or none"

MIN_DOWNSAMPLE = 4
"""Least level-0 px per px of the mask that polygons are drawn on."""

MIN_MASK_SIDE_PX = 8
"""Least length of a mask's longer side: one pixel fits every slide, and tells nothing."""

ASPECT_TOLERANCE = 0.05
"""Largest relative difference of a mask's aspect ratio from the slide's."""

IGNORED_CLASS = "Ignore*"
"""QuPath's class of what is to be left out, such as folds and artefacts."""

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 31  # zlib's code for a gzip header and its largest window


@dataclass(frozen=True, slots=True)
class Canvas:
    """The area that marks refer to."""

    size: Size
    """The whole slide."""
    bounds: Box | None = None
    """The scanned area, where it is not the whole slide."""
    origin: str = "auto"
    """What the marks count from: `canvas`, `bounds`, or `auto`, what hits the scanned area."""

    def choose_map(self, path: Path, read: Callable[[Box], BoolMask]) -> TissueMap:
        """Return the map of a file whose marks `read` places, for the area that they are counted in.

        Raises `AnnotationError` where they mark nothing, or nobody can say which of both areas is meant.
        """
        whole = Box.from_size(self.size)
        if self.bounds is None or self.origin == "canvas":
            return _make_tissue_map(read(whole), path)
        from_bounds = read(self.bounds)
        if self.origin == "bounds":
            return _make_tissue_map(from_bounds, path)
        from_canvas = read(whole)
        by_canvas, by_bounds = (_crop_mask(mask, self.bounds, self.size) for mask in (from_canvas, from_bounds))
        if by_canvas.any() and by_bounds.any() and not np.array_equal(by_canvas, by_bounds):
            corner = f"{self.bounds.left}, {self.bounds.top}"
            raise AnnotationError(
                f"{path}: may count from the canvas or, as QuPath does, from the scanned bounds at {corner} px; "
                "say which with --tissue-origin canvas or bounds"
            )
        if not (by_canvas.any() or by_bounds.any()):
            raise AnnotationError(f"{path}: marks nothing that was scanned; check that it belongs to this slide")
        return _make_tissue_map(from_canvas if by_canvas.any() else from_bounds, path)


def read_mask_picture(path: Path, canvas: Canvas) -> TissueMap:
    """Read a mask picture, stretched over the slide or over its scanned bounds; any pixel that is not black is tissue.

    Its aspect ratio may tell which of both it covers. Raises `AnnotationError`.
    """
    mask = _load_mask_picture(path)
    height, width = mask.shape
    if max(width, height) < MIN_MASK_SIDE_PX:
        raise AnnotationError(
            f"{path}: a mask of {width} x {height} px is too coarse to tell tissue from glass; give one of at least "
            f"{MIN_MASK_SIDE_PX} px, or --tissue none for all of the slide"
        )

    def place(area: Box) -> BoolMask:
        if not fits(area, ASPECT_TOLERANCE):
            return np.zeros((1, 1), bool)
        return mask if area.size == canvas.size else _paste_mask(mask, area, canvas.size)

    def fits(area: Box, tolerance: float) -> bool:
        error = abs(math.log(width * area.height / (height * area.width)))
        return bool(error <= tolerance + 1 / min(width, height))

    areas = {"canvas": Box.from_size(canvas.size), "bounds": canvas.bounds}
    possible = {name: area for name, area in areas.items() if area and canvas.origin in ("auto", name)}
    if not any(fits(area, ASPECT_TOLERANCE) for area in possible.values()):
        covered = " or ".join(f"{area.size} px" for area in possible.values())
        raise AnnotationError(
            f"{path}: a mask of {width} x {height} px does not cover {covered}; give one of this slide"
        )
    exact = [name for name, area in possible.items() if fits(area, 0.0)]
    return (replace(canvas, origin=exact[0]) if len(exact) == 1 else canvas).choose_map(path, place)


def _load_mask_picture(path: Path) -> BoolMask:
    """Load which pixels of a picture are not black. Raises `AnnotationError`."""
    special = describe_special_file(path)
    if special:
        raise AnnotationError(f"{path}: is {special}, and pictures are read in any order; copy it into a file")
    try:
        with (
            warnings.catch_warnings(action="ignore"),  # Pillow warns of a large picture, and of damage that it repairs
            Image.open(path, formats=PICTURE_FORMATS) as picture,
        ):
            if picture.width * picture.height > MAX_MASK_PX:
                raise AnnotationError(f"{path}: {picture.width} x {picture.height} px is too large; shrink the mask")
            return _nonblack_mask(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, FileNotFoundError):
            raise AnnotationNotFoundError(f"{path}: cannot be opened ({error.strerror}); {MASK_ADVICE}") from error
        raise AnnotationError(f"{path}: is not a mask picture ({describe_error(error)}); {MASK_ADVICE}") from error


def _paste_mask(mask: BoolMask, area: Box, size: Size) -> BoolMask:
    """Return a mask of the whole slide, of about the same resolution, that shows `mask` in an area."""
    factor = max(area.width / mask.shape[1], area.height / mask.shape[0], math.sqrt(size.pixel_count / MAX_MASK_PX))
    whole = np.zeros((math.ceil(size.height / factor), math.ceil(size.width / factor)), np.uint8)
    part = _scale_box(area, size, whole.shape)
    # No mark may get lost, so each pixel counts that touches one.
    resized = TissueMap(mask, "").mask_pixels(part.size)
    whole[part.rows, part.columns] = resized
    return whole.astype(bool)


def _crop_mask(mask: BoolMask, area: Box, size: Size) -> BoolMask:
    """Return the part of a mask of the whole slide that shows an area."""
    part = _scale_box(area, size, mask.shape)
    return mask[part.rows, part.columns]


def _scale_box(area: Box, size: Size, shape: tuple[int, ...]) -> Box:
    """Return the box of all pixels of a mask that an area of the slide touches."""
    rows, columns = shape[0] / size.height, shape[1] / size.width
    return Box(
        math.floor(area.left * columns),
        math.floor(area.top * rows),
        math.ceil(area.right * columns),
        math.ceil(area.bottom * rows),
    )


def _nonblack_mask(picture: Image.Image) -> BoolMask:
    """Return which pixels are not black. A palette is resolved to its colours; transparency is ignored."""
    if picture.mode not in ("1", "L", "I", "F", "I;16"):
        picture = picture.convert("RGB")
    values = np.asarray(picture)
    return np.asarray(values.reshape(*values.shape[:2], -1).any(axis=2))


def read_geojson(path: Path, canvas: Canvas) -> TissueMap:
    """Read polygons and multipolygons with holes, in level-0 px. Polygons of QuPath's class `Ignore*` are cut out.

    Raises `AnnotationError` if there is no polygon within the slide.
    """
    factor = max(MIN_DOWNSAMPLE, math.ceil(math.sqrt(canvas.size.pixel_count / MAX_MASK_PX)))
    shape = -(-canvas.size.height // factor), -(-canvas.size.width // factor)
    try:
        polygons = [_parse_polygon(rings, ignored) for rings, ignored in _iterate_polygons(load_geojson(path))]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise AnnotationError(
            f"{path}: is not GeoJSON of polygons ({describe_error(error)}); export it from QuPath"
        ) from error
    try:
        return canvas.choose_map(path, lambda area: _draw_polygons(polygons, (area.left, area.top), factor, shape))
    except ValueError as error:
        raise AnnotationError(f"{path}: {error}; merge them, or leave out what is not tissue") from error


def load_geojson(path: Path) -> Any:
    """Load the JSON of annotations, of bounded size, from a plain or a gzip file.

    Raises `ConfigError` where it cannot be read or is too large, `ValueError` where it is no JSON.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_GEOJSON_BYTES + 1)
        if len(data) > MAX_GEOJSON_BYTES:
            raise _make_size_error(path)
        text = _decompress(path, data) if data.startswith(_GZIP_MAGIC) else data
        if text.count(b",") > MAX_GEOJSON_VALUES:  # before they are parsed: each takes several times its text in memory
            raise AnnotationError(f"{path}: holds more than {MAX_GEOJSON_VALUES} values; leave out what is not tissue")
        return json.loads(text)
    except OSError as error:
        error_type = AnnotationNotFoundError if isinstance(error, FileNotFoundError) else AnnotationError
        raise error_type(f"{path}: cannot be read ({error.strerror}); give a GeoJSON file") from error


def _decompress(path: Path, data: bytes) -> bytes:
    """Decompress gzip. Raises `AnnotationError` where the content is too large, `ValueError` where it is damaged."""
    decompressor = zlib.decompressobj(_GZIP_WINDOW)
    try:
        content = decompressor.decompress(data, MAX_GEOJSON_BYTES + 1)
    except zlib.error as error:
        raise ValueError(f"damaged gzip, {error}") from error
    if len(content) > MAX_GEOJSON_BYTES:
        raise _make_size_error(path)
    if not decompressor.eof:
        raise ValueError("damaged gzip, cut off")
    return content


def _make_size_error(path: Path) -> AnnotationError:
    return AnnotationError(f"{path}: is larger than {MAX_GEOJSON_BYTES // 1_000_000} MB; leave out what is not tissue")


@dataclass(frozen=True, slots=True)
class Polygon:
    """An outline and its holes, in level-0 px."""

    rings: list[npt.NDArray[np.float64]]
    """(n, 2) of x and y each."""
    ignored: bool
    """Whether it is no tissue, whatever else marks it."""


def _parse_polygon(rings: list[Any], ignored: bool) -> Polygon:
    arrays = [np.asarray(ring, np.float64)[:, :2] for ring in rings]
    if not arrays or not all(ring.shape[1] == 2 and np.isfinite(ring).all() for ring in arrays):
        raise ValueError("a coordinate is not a number")
    return Polygon(arrays, ignored)


def _iterate_polygons(item: Any, ignored: bool = False) -> Iterator[tuple[list[Any], bool]]:
    """Yield the rings of each polygon, its outline before its holes, and whether it is ignored.

    Other geometries are skipped.
    """
    for child in item if isinstance(item, list) else item.get("features") or item.get("geometries") or [item]:
        if child is not item:
            yield from _iterate_polygons(child, ignored)
        elif item["type"] == "Feature":
            yield from [] if item["geometry"] is None else _iterate_polygons(item["geometry"], _is_ignored(item))
        elif item["type"] == "Polygon":
            yield item["coordinates"], ignored
        elif item["type"] == "MultiPolygon":
            yield from ((rings, ignored) for rings in item["coordinates"])


def _is_ignored(feature: dict[str, Any]) -> bool:
    """Whether a feature has QuPath's class `Ignore*`. A derived class has several names, in a list since QuPath 0.5."""
    classification = (feature.get("properties") or {}).get("classification") or {}
    names = [*str(classification.get("name") or "").split(": "), *(classification.get("names") or [])]
    return IGNORED_CLASS in names


def _draw_polygons(polygons: list[Polygon], origin: tuple[int, int], factor: int, shape: tuple[int, int]) -> BoolMask:
    """Draw polygons that count from an origin into a mask of the slide, shrunk by a factor.

    Their edges count as inside, also those of holes. Raises `ValueError` where drawing would take too long.
    """
    mask, ignored = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    height, width = shape
    rings = [ring for polygon in polygons for ring in polygon.rings]
    corners = np.floor((np.concatenate(rings) + origin) / factor) if rings else np.zeros((0, 2))
    _refuse_excessive_drawing(polygons, np.clip(corners, 0, (width, height)))
    limit = 4 * max(width, height)  # OpenCV takes coordinates of 32 bits
    placed = iter(np.split(np.clip(corners, -limit, limit).astype(np.int32), np.cumsum([len(ring) for ring in rings])))
    for polygon in polygons:
        cv2.fillPoly(ignored if polygon.ignored else mask, list(islice(placed, len(polygon.rings))), 1)
    if ignored.any():
        # Its edge stays tissue, for a pixel of the mask there holds some of it.
        mask[cv2.erode(ignored, np.ones((3, 3), np.uint8)) > 0] = 0
    return mask.astype(bool)


def _refuse_excessive_drawing(polygons: list[Polygon], corners: npt.NDArray[np.float64]) -> None:
    """Raise `ValueError` where polygons, whose corners are given in px of the mask, lie on each other too often."""
    sizes = [sum(map(len, polygon.rings)) for polygon in polygons]
    starts = np.cumsum([0, *sizes])[:-1]
    if not len(corners):
        return
    sides = np.maximum.reduceat(corners, starts) - np.minimum.reduceat(corners, starts) + 1
    if sides.prod(axis=1).sum() > MAX_DRAWN_PX or np.abs(np.diff(corners, axis=0)).sum() > MAX_OUTLINE_PX:
        raise ValueError(f"its {len(polygons)} polygons overlap too often to be drawn")


def _make_tissue_map(mask: BoolMask, path: Path) -> TissueMap:
    if not mask.any():
        raise AnnotationError(
            f"{path}: marks nothing on this slide; check that it belongs to it, or leave --tissue out"
        )
    return TissueMap(mask, f"marked in a {path.suffix.lower().lstrip('.')} file")
