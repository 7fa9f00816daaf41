"""Tissue as a person or another program has marked it: a mask picture, or annotations in GeoJSON as QuPath writes them.

Both come from outside: sizes are bounded before anything is decoded, and what is not understood is refused.
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

from wsisr.errors import ConfigError, in_words
from wsisr.imaging.geometry import Size
from wsisr.tissue.map import Flags, TissueMap

LARGEST_FILE = 256_000_000
"""Bytes of a GeoJSON."""

MOST_PX = 64_000_000
"""Of a mask picture, and of the map that polygons are drawn on."""

FINEST_PX = 4
"""Level-0 px for each px of that map, at the least."""

ASPECT = 0.05
"""By how much, as a share, a mask's proportions may differ from the slide's."""

_LARGE = Image.DecompressionBombWarning  # said of what is refused, in other words

Rings = list[npt.NDArray[np.int32]]


def from_picture(path: Path, slide: Size) -> TissueMap:
    """A mask picture, stretched over the slide; whatever is not black is tissue. Raises `ConfigError`."""
    try:
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(path) as picture,
        ):
            if picture.width * picture.height > MOST_PX:
                raise ConfigError(f"{path}: {picture.width} x {picture.height} px is too large; shrink the mask")
            flags = _marked(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ConfigError(
            f"{path}: is no picture of a mask ({in_words(error)}); give a PNG or a GeoJSON, auto or none"
        ) from error
    height, width = flags.shape
    if abs(math.log(width * slide.height / (height * slide.width))) > ASPECT + 1 / min(width, height):
        raise ConfigError(f"{path}: a mask of {width} x {height} px does not cover {slide} px; give one of this slide")
    return _some(flags, path)


def _marked(picture: Image.Image) -> Flags:
    """Which pixels are not black. Of a palette its colours tell, and what sees through does not."""
    if picture.mode not in ("1", "L", "I", "F", "I;16"):
        picture = picture.convert("RGB")
    values = np.asarray(picture)
    return np.asarray(values.reshape(*values.shape[:2], -1).any(axis=2))


def from_geojson(path: Path, slide: Size) -> TissueMap:
    """Polygons and multipolygons, with holes, in level-0 px. What QuPath classifies as `Ignore*` is left out.

    Raises `ConfigError` where there is no polygon, or none within the slide.
    """
    factor = max(FINEST_PX, math.ceil(math.sqrt(slide.pixels / MOST_PX)))
    drawn = np.zeros((-(-slide.height // factor), -(-slide.width // factor)), np.uint8)
    try:
        for rings in _polygons(_loaded(path)):
            _draw(drawn, [np.asarray(ring, np.float64)[:, :2] / factor for ring in rings])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{path}: is not GeoJSON of polygons ({in_words(error)}); export it from QuPath") from error
    return _some(drawn.astype(bool), path)


def _loaded(path: Path) -> Any:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ConfigError(f"{path}: is larger than {LARGEST_FILE // 1_000_000} MB; leave out what is not tissue")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a GeoJSON file") from error


def _polygons(item: Any) -> Iterator[list[Any]]:
    """The rings of each polygon: its outline, then its holes. What is neither polygon nor a list of them has none."""
    for each in item if isinstance(item, list) else item.get("features") or item.get("geometries") or [item]:
        if each is not item:
            yield from _polygons(each)
        elif item["type"] == "Feature":
            ignored = ((item.get("properties") or {}).get("classification") or {}).get("name") == "Ignore*"
            yield from [] if ignored or item["geometry"] is None else _polygons(item["geometry"])
        elif item["type"] == "Polygon":
            yield item["coordinates"]
        elif item["type"] == "MultiPolygon":
            yield from item["coordinates"]


def _draw(drawn: npt.NDArray[np.uint8], rings: list[npt.NDArray[np.float64]]) -> None:
    """Adds one polygon; its edges count as inside, those of its holes too."""
    height, width = drawn.shape
    if not all(np.isfinite(ring).all() for ring in rings):
        raise ValueError("a corner is no number")
    corners = np.concatenate(rings)
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, (width, height)).astype(int)
    if left < right and top < bottom:
        part = np.zeros((bottom - top, right - left), np.uint8)
        far = 4 * max(width, height)  # OpenCV counts in 32 bits
        shapes: Rings = [np.clip(np.floor(ring - (left, top)), -far, far).astype(np.int32) for ring in rings]
        cv2.fillPoly(part, shapes, 1)
        drawn[top:bottom, left:right] |= part


def _some(flags: Flags, path: Path) -> TissueMap:
    if not flags.any():
        raise ConfigError(f"{path}: marks nothing on this slide; check that it belongs to it, or leave --tissue out")
    return TissueMap(flags, f"marked in a {path.suffix.lower().lstrip('.')} file")
