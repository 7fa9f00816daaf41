"""Tissue marked by a person or another program: a mask picture, or GeoJSON annotations as QuPath writes them.

Both are untrusted: sizes are checked before anything is decoded, and what is not understood is refused.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from wsisr.errors import ConfigError, ConfigNotFoundError, describe_error
from wsisr.imaging.geometry import Size
from wsisr.tissue.map import BoolMask, TissueMap

MAX_GEOJSON_BYTES = 256_000_000
"""Largest GeoJSON file that is read."""

MAX_MASK_PX = 64_000_000
"""Most pixels of a mask picture, and of the mask that polygons are drawn on."""

MIN_DOWNSAMPLE = 4
"""Least level-0 px per px of the mask that polygons are drawn on."""

ASPECT_TOLERANCE = 0.05
"""Largest relative difference of a mask's aspect ratio from the slide's."""

_SIZE_WARNING = Image.DecompressionBombWarning  # `MAX_MASK_PX` refuses such pictures with a message of our own

Rings = list[npt.NDArray[np.int32]]


def read_mask_picture(path: Path, slide: Size) -> TissueMap:
    """Read a mask picture, stretched over the slide; any pixel that is not black is tissue. Raises `ConfigError`."""
    try:
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(path) as picture,
        ):
            if picture.width * picture.height > MAX_MASK_PX:
                raise ConfigError(f"{path}: {picture.width} x {picture.height} px is too large; shrink the mask")
            mask = _nonblack_mask(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        error_type = ConfigNotFoundError if isinstance(error, FileNotFoundError) else ConfigError
        raise error_type(
            f"{path}: is not a mask picture ({describe_error(error)}); give a PNG or a GeoJSON, auto or none"
        ) from error
    height, width = mask.shape
    if abs(math.log(width * slide.height / (height * slide.width))) > ASPECT_TOLERANCE + 1 / min(width, height):
        raise ConfigError(f"{path}: a mask of {width} x {height} px does not cover {slide} px; give one of this slide")
    return _make_tissue_map(mask, path)


def _nonblack_mask(picture: Image.Image) -> BoolMask:
    """Return which pixels are not black. A palette is resolved to its colours; transparency is ignored."""
    if picture.mode not in ("1", "L", "I", "F", "I;16"):
        picture = picture.convert("RGB")
    values = np.asarray(picture)
    return np.asarray(values.reshape(*values.shape[:2], -1).any(axis=2))


def read_geojson(path: Path, slide: Size) -> TissueMap:
    """Read polygons and multipolygons with holes, in level-0 px. QuPath's class `Ignore*` is left out.

    Raises `ConfigError` if there is no polygon within the slide.
    """
    factor = max(MIN_DOWNSAMPLE, math.ceil(math.sqrt(slide.pixel_count / MAX_MASK_PX)))
    mask = np.zeros((-(-slide.height // factor), -(-slide.width // factor)), np.uint8)
    try:
        for rings in _iterate_polygons(_load_json(path)):
            _draw_polygon(mask, [np.asarray(ring, np.float64)[:, :2] / factor for ring in rings])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise ConfigError(
            f"{path}: is not GeoJSON of polygons ({describe_error(error)}); export it from QuPath"
        ) from error
    return _make_tissue_map(mask.astype(bool), path)


def _load_json(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_GEOJSON_BYTES:
            raise ConfigError(
                f"{path}: is larger than {MAX_GEOJSON_BYTES // 1_000_000} MB; leave out what is not tissue"
            )
        return json.loads(path.read_bytes())
    except OSError as error:
        error_type = ConfigNotFoundError if isinstance(error, FileNotFoundError) else ConfigError
        raise error_type(f"{path}: cannot be read ({error.strerror}); give a GeoJSON file") from error


def _iterate_polygons(item: Any) -> Iterator[list[Any]]:
    """Yield the rings of each polygon, its outline before its holes; other geometries are skipped."""
    for child in item if isinstance(item, list) else item.get("features") or item.get("geometries") or [item]:
        if child is not item:
            yield from _iterate_polygons(child)
        elif item["type"] == "Feature":
            ignored = ((item.get("properties") or {}).get("classification") or {}).get("name") == "Ignore*"
            yield from [] if ignored or item["geometry"] is None else _iterate_polygons(item["geometry"])
        elif item["type"] == "Polygon":
            yield item["coordinates"]
        elif item["type"] == "MultiPolygon":
            yield from item["coordinates"]


def _draw_polygon(mask: npt.NDArray[np.uint8], rings: list[npt.NDArray[np.float64]]) -> None:
    """Draw one polygon into the mask, in place. Its edges count as inside, also those of its holes."""
    height, width = mask.shape
    if not all(np.isfinite(ring).all() for ring in rings):
        raise ValueError("a coordinate is not a number")
    corners = np.concatenate(rings)
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, (width, height)).astype(int)
    if left < right and top < bottom:
        part = np.zeros((bottom - top, right - left), np.uint8)
        limit = 4 * max(width, height)  # OpenCV takes coordinates of 32 bits
        shapes: Rings = [np.clip(np.floor(ring - (left, top)), -limit, limit).astype(np.int32) for ring in rings]
        cv2.fillPoly(part, shapes, 1)
        mask[top:bottom, left:right] |= part


def _make_tissue_map(mask: BoolMask, path: Path) -> TissueMap:
    if not mask.any():
        raise ConfigError(f"{path}: marks nothing on this slide; check that it belongs to it, or leave --tissue out")
    return TissueMap(mask, f"marked in a {path.suffix.lower().lstrip('.')} file")
