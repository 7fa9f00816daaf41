"""Annotations as the page draws them: outlines in micrometres, a name, a colour, and nothing else of the file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wsisr.errors import ConfigError, describe_error
from wsisr.tissue.annotation import load_geojson

_DEPTHS = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}
"""Lists around the positions of each kind of geometry."""

MAX_NAME_CHARACTERS = 120
"""Longest name of an annotation that is shown."""

_DEFAULT_COLOUR = (226, 87, 30)

Feature = dict[str, Any]


def read_annotations(path: Path, origin: tuple[float, float], mpp: float) -> list[Feature]:
    """Read GeoJSON in px of level 0 as features in um of the page, y upwards as OpenLayers has it.

    `origin` is the corner that the file counts from, in um of the page, and `mpp` the pixel size of level 0.
    Raises `ConfigError` where it is no GeoJSON, or too large.
    """
    try:
        return [
            {"type": geometry["type"], "coordinates": _place(geometry["coordinates"], depth, origin, mpp)} | facts
            for geometry, facts in _iterate_geometries(load_geojson(path), {"name": "", "colour": _DEFAULT_COLOUR})
            if (depth := _DEPTHS.get(geometry["type"])) is not None
        ]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{path}: is not GeoJSON ({describe_error(error)}); export it from QuPath") from error


def _iterate_geometries(item: Any, facts: Feature) -> Iterator[tuple[Any, Feature]]:
    for child in item if isinstance(item, list) else item.get("features") or item.get("geometries") or [item]:
        if child is not item:
            yield from _iterate_geometries(child, facts)
        elif item["type"] == "Feature":
            if item["geometry"] is not None:
                yield from _iterate_geometries(item["geometry"], _read_facts(item.get("properties") or {}))
        elif item["type"] not in ("FeatureCollection", "GeometryCollection"):
            yield item, facts


def _read_facts(properties: dict[str, Any]) -> Feature:
    """Return name and colour of a feature; QuPath writes the class, and its colour as red, green and blue."""
    classification = properties.get("classification") or {}
    name = str(properties.get("name") or classification.get("name") or "")
    colour = properties.get("color") or classification.get("color")
    if not (isinstance(colour, list) and len(colour) == 3 and all(type(value) is int for value in colour)):
        colour = list(_DEFAULT_COLOUR)
    return {
        "name": name[:MAX_NAME_CHARACTERS],
        "colour": [value & 255 for value in colour],
    }


def _place(coordinates: Any, depth: int, origin: tuple[float, float], mpp: float) -> Any:
    if depth:
        return [_place(part, depth - 1, origin, mpp) for part in coordinates]
    x, y = float(coordinates[0]), float(coordinates[1])
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError("a coordinate is not a number")
    return [round(origin[0] + x * mpp, 4), round(-origin[1] - y * mpp, 4)]
