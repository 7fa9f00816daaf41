"""OME-Zarr 0.4 and 0.5: facts of its first image; pixels from only the chunks a box touches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from wsisr.errors import SlideError, in_words
from wsisr.geometry import Box, Size
from wsisr.pixels import Rgb
from wsisr.slides._chunks import ChunkedArray, ChunkError, array_of
from wsisr.slides.mosaic import Mosaic
from wsisr.slides.pitch import number, pitch_of
from wsisr.slides.slide import Level, Slide, SlideInfo, downsamples, undecodable

CACHE_BYTES = 64 * 2**20
"""Decoded chunks kept per slide: neighbouring boxes touch the same ones."""

_LONGEST_METADATA = 16 * 2**20
_METADATA = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
_RGB = ["FF0000", "00FF00", "0000FF"]
_UM = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6}

_MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError, OSError, RecursionError)
"""What reading metadata of any content raises where it is not what the format says."""


@dataclass(frozen=True, slots=True)
class ZarrLevel(Mosaic):
    """One resolution: chunks of any number of channels as segments of three."""

    array: ChunkedArray
    axes: str
    """A letter for each axis of the array."""

    def decode(self, index: int) -> Rgb:
        """A whole segment, (h, w, 3)."""
        row, column = divmod(index, self.across)
        channels = -(-3 // self.array.coding.chunk[self.axes.index("c")])
        return np.concatenate([self._chunk(channel, row, column) for channel in range(channels)], axis=2)[..., :3]

    def _chunk(self, channel: int, row: int, column: int) -> Rgb:
        places = {"c": channel, "y": row, "x": column}
        chunk = self.array.read(tuple(places.get(axis, 0) for axis in self.axes))
        others = [position for position, axis in enumerate(self.axes) if axis not in places]
        pixels = chunk.transpose(*others, *(self.axes.index(axis) for axis in "yxc"))
        return np.asarray(pixels[(0,) * len(others)])


class ZarrSlide(Slide):
    """Pixels of chunks; decoding runs in the threads that ask for it."""

    def __init__(self, info: SlideInfo, levels: tuple[ZarrLevel, ...]) -> None:
        self._info, self._levels = info, levels
        largest = max(level.segment_bytes for level in levels)
        self._decoded = lru_cache(maxsize=max(1, CACHE_BYTES // largest))(self._decode)

    @property
    def info(self) -> SlideInfo:
        return self._info

    def read(self, box: Box, level: int) -> Rgb:
        self.info.level(level)
        try:
            return self._levels[level].read(
                box, lambda index, place: self._decoded(level, index)[place.rows, place.columns]
            )
        except (ValueError, RuntimeError, OSError) as error:
            raise undecodable(self.info.path, level, box, error) from error

    def close(self) -> None:
        self._decoded.cache_clear()

    def _decode(self, level: int, index: int) -> Rgb:
        return self._levels[level].decode(index)


def is_zarr(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _METADATA)


def open_zarr(path: Path) -> tuple[SlideInfo, tuple[ZarrLevel, ...]]:
    """Facts and levels of the first image of an OME-Zarr.

    Raises `SlideError` where it is damaged, holds no image, or one that is not 8-bit RGB of one focal plane.
    """
    with _malformed(path):
        folder, image, remarks = _first_image(path)
        multiscale = image["multiscales"][0]
        axes = "".join(axis["name"] for axis in multiscale["axes"])
        _refuse_unless_flat(axes)
        _refuse_unless_rgb(image)
        levels = tuple(_level(folder, dataset["path"], axes) for dataset in multiscale["datasets"])
        sizes = [level.size for level in levels]
        if sizes != sorted(sizes, key=lambda size: size.pixels, reverse=True):
            raise ChunkError("levels that do not go from fine to coarse")
        pitch = pitch_of(*(_pitch(multiscale, axes.index(axis)) for axis in "xy"))
        info = SlideInfo(
            path=path,
            reader="imagecodecs",
            vendor="ome-zarr",
            levels=tuple(Level(size, factor) for size, factor in zip(sizes, downsamples(sizes), strict=True)),
            mpp=pitch.mpp,
            finer=pitch.finer,
            objective=None,
            icc=None,
            associated={},
            properties={"ome-zarr.name": str(multiscale.get("name", ""))},
            remarks=remarks,
        )
        return info, levels


@contextmanager
def _malformed(path: Path) -> Iterator[None]:
    try:
        yield
    except ChunkError as error:
        raise SlideError(f"{path}: holds {error}; give an OME-Zarr 0.4 or 0.5 of 8-bit RGB") from error
    except _MALFORMED as error:
        raise SlideError(
            f"{path}: not an OME-Zarr image, or a damaged one ({in_words(error)}); give the folder of an image"
        ) from error


def _first_image(folder: Path) -> tuple[Path, Mapping[str, Any], tuple[str, ...]]:
    """Folder and metadata of the image that is read, and what is to be said of others."""
    found = _attributes(folder)
    if "plate" in found:
        raise ChunkError("a plate of many images")
    several = "multiscales" not in found and is_zarr(folder / "0")
    if several:  # as bioformats2raw lays them out: one group for each image of the file it converted
        others = is_zarr(folder / "1")
        folder, found = folder / "0", _attributes(folder / "0")
    else:
        others = len(found["multiscales"]) > 1
    return folder, found, ("the file holds several images; the first is read",) if others else ()


def _attributes(folder: Path) -> Mapping[str, Any]:
    if (folder / "zarr.json").is_file():
        attributes = _json(folder / "zarr.json").get("attributes", {})
        return dict(attributes.get("ome", attributes))
    return _json(folder / ".zattrs")


def _json(file: Path) -> dict[str, Any]:
    if file.stat().st_size > _LONGEST_METADATA:
        raise ChunkError(f"metadata of {file.stat().st_size} bytes")
    return dict(json.loads(file.read_bytes()))


def _refuse_unless_flat(axes: str) -> None:
    if sorted(set(axes) & set("cyx")) != list("cxy") or len(set(axes)) != len(axes) or set(axes) - set("tczyx"):
        raise ChunkError(f"axes {axes} in place of c, y, x")


def _refuse_unless_rgb(image: Mapping[str, Any]) -> None:
    channels = image.get("omero", {}).get("channels", [])
    colours = [str(channel.get("color", "")).upper() for channel in channels]
    if len(set(colours)) > 1 and colours != _RGB:
        raise ChunkError(f"channels coloured {', '.join(colours)}, as in fluorescence,")


def _level(folder: Path, inside: str, axes: str) -> ZarrLevel:
    if not inside or Path(inside).is_absolute() or ".." in Path(inside).parts:
        raise ChunkError("a level outside its folder")
    place = folder / inside
    array = array_of(place, _json(place / ("zarr.json" if (place / "zarr.json").is_file() else ".zarray")))
    shape = dict(zip(axes, array.shape, strict=True))
    if shape["c"] != 3:
        raise ChunkError(f"{shape['c']} channels")
    if any(shape[axis] != 1 for axis in set(axes) & set("tz")):
        raise ChunkError("a stack of images")
    chunk = dict(zip(axes, array.coding.chunk, strict=True))
    return ZarrLevel(Size(shape["x"], shape["y"]), Size(chunk["x"], chunk["y"]), array, axes)


def _pitch(multiscale: Mapping[str, Any], axis: int) -> float | None:
    """Of the finest level along one axis, in um/px: its own scale times that of all levels."""
    um = _UM.get(multiscale["axes"][axis].get("unit", ""))
    steps = [
        *multiscale["datasets"][0].get("coordinateTransformations", []),
        *multiscale.get("coordinateTransformations", []),
    ]
    scales = [number(str(step["scale"][axis])) for step in steps if step["type"] == "scale"]
    pitch = um
    for scale in scales:
        pitch = None if pitch is None or scale is None else pitch * scale
    return pitch if scales else None
