"""OME-Zarr 0.4 and 0.5: facts of one of its images; pixels from only the chunks a box touches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count, islice, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from wsisr.errors import SlideError, in_words
from wsisr.files import is_zarr, zarr_around
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.parallel.threads import Crew
from wsisr.slides.pixel_size import number, pitch_of
from wsisr.slides.readers.tiled_level import Mosaic
from wsisr.slides.readers.zarr_array import ChunkedArray, ChunkError, array_of
from wsisr.slides.readers.zarr_integrity import stored_of
from wsisr.slides.series import Scene, choose, said_of
from wsisr.slides.slide import Level, Slide, SlideInfo, downsamples, undecodable

CACHE_BYTES = 64 * 2**20
"""Decoded chunks kept per slide: neighbouring boxes touch the same ones."""

_LONGEST_METADATA = 16 * 2**20
MOST_IMAGES = 1000
"""Of one OME-Zarr; what comes after them is not looked at."""

_RGB = ["FF0000", "00FF00", "0000FF"]
_UM = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6}

_MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError, RecursionError)
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
    """Pixels of chunks; decoding runs in the threads that ask for it, and in others."""

    def __init__(self, info: SlideInfo, levels: tuple[ZarrLevel, ...]) -> None:
        self._info, self._levels = info, levels
        largest = max(level.segment_bytes for level in levels)
        self._decoded = lru_cache(maxsize=max(1, CACHE_BYTES // largest))(self._decode)
        self._crew = Crew(min(level.threads for level in levels), "wsisr-decode")

    @property
    def info(self) -> SlideInfo:
        return self._info

    def read(self, box: Box, level: int) -> Rgb:
        self.info.level(level)
        try:
            return self._levels[level].read(
                box, lambda index, place: self._decoded(level, index)[place.rows, place.columns], self._crew
            )
        except (ValueError, RuntimeError, OSError) as error:
            raise undecodable(self.info.path, level, box, error) from error

    def close(self) -> None:
        self._crew.close()
        self._decoded.cache_clear()

    def _decode(self, level: int, index: int) -> Rgb:
        return self._levels[level].decode(index)


def open_zarr(path: Path, series: int | None = None) -> tuple[SlideInfo, tuple[ZarrLevel, ...]]:
    """Facts and levels of one image of an OME-Zarr; of several the largest, unless another is asked for.

    Raises `SlideError` where it is damaged, holds no image, or one that is not 8-bit RGB of one focal plane.
    """
    with _malformed(path):
        _refuse_array(path)
        found = list(islice(_images(path), MOST_IMAGES))
        if not found:
            raise ValueError("no image")
        scenes = [_scene(image) for image in found]
        chosen = choose(path, scenes, series)
        image = found[chosen]
        levels = image.levels()
        info = _info(path, image, levels)
        if len(scenes) > 1:
            remarks = () if series is not None else said_of(scenes, chosen)
            info = replace(info, scenes=tuple(scenes), series=chosen, remarks=remarks + info.remarks)
        return info, levels


@contextmanager
def _malformed(path: Path) -> Iterator[None]:
    try:
        yield
    except ChunkError as error:
        raise SlideError(f"{path}: {_refused(error)}") from error
    except _MALFORMED as error:
        raise SlideError(f"{path}: {_damaged(error)}") from error


def _refused(error: ChunkError) -> str:
    return f"holds {error}; give an OME-Zarr 0.4 or 0.5 of 8-bit RGB"


def _damaged(error: Exception) -> str:
    return f"not an OME-Zarr image, or a damaged one ({in_words(error)}); give the folder of an image"


@dataclass(frozen=True, slots=True)
class Image:
    """One multiscale image: where it lies, and what is said of it."""

    folder: Path
    multiscale: Mapping[str, Any]
    group: Mapping[str, Any]
    """Of OME-NGFF, all attributes of the group that holds it."""
    own: Mapping[str, Any]
    """What wsisr says of it."""

    @property
    def axes(self) -> str:
        return "".join(axis["name"] for axis in self.multiscale["axes"])

    def levels(self) -> tuple[ZarrLevel, ...]:
        """From fine to coarse. Raises `ChunkError` where it is not 8-bit RGB of one focal plane."""
        _refuse_unless_flat(self.axes)
        _refuse_unless_rgb(self.group)
        levels = tuple(_level(self.folder, dataset["path"], self.axes) for dataset in self.multiscale["datasets"])
        sizes = [level.size for level in levels]
        if sizes != sorted(sizes, key=lambda size: size.pixels, reverse=True):
            raise ChunkError("levels that do not go from fine to coarse")
        return levels


def _refuse_array(path: Path) -> None:
    """A level alone has neither pitch nor axes."""
    metadata = path / "zarr.json"
    if (path / ".zarray").is_file() or (metadata.is_file() and _json(metadata).get("node_type") == "array"):
        raise SlideError(f"{path}: is one array of {zarr_around(path)}; give that folder, or that of an image in it")


def _images(folder: Path) -> Iterator[Image]:
    """Of a group, or of the groups in it, as bioformats2raw lays them out: one for each image of the file."""
    attributes = _attributes(folder)
    found = attributes.get("ome", attributes)
    if "plate" in found:
        raise ChunkError("a plate of many images")
    if "multiscales" not in found and is_zarr(folder / "0"):
        for group in takewhile(is_zarr, (folder / str(number) for number in count())):
            yield from _images_of(group)
    else:
        found["multiscales"]  # or it is no image
        yield from _images_of(folder)


def _images_of(group: Path) -> Iterator[Image]:
    attributes = _attributes(group)
    found = attributes.get("ome", attributes)
    for multiscale in found.get("multiscales", []):
        yield Image(group, multiscale, found, attributes.get("wsisr", {}))


def _scene(image: Image) -> Scene:
    """Whatever is wrong with one image, others may be read."""
    name = str(image.multiscale.get("name", ""))
    try:
        return Scene(name, image.levels()[0].size)
    except ChunkError as error:
        return Scene(name, _size(image), _refused(error))
    except _MALFORMED as error:
        return Scene(name, _size(image), _damaged(error))


def _size(image: Image) -> Size | None:
    """Of what cannot be read, as far as it is told."""
    with suppress(ChunkError, *_MALFORMED):
        shape = _array_metadata(image.folder / image.multiscale["datasets"][0]["path"])["shape"]
        return Size(int(shape[image.axes.index("x")]), int(shape[image.axes.index("y")]))
    return None


def _info(path: Path, image: Image, levels: tuple[ZarrLevel, ...]) -> SlideInfo:
    sizes = [level.size for level in levels]
    pitch = pitch_of(*(_pitch(image.multiscale, image.axes.index(axis)) for axis in "xy"))
    return SlideInfo(
        path=path,
        reader="imagecodecs",
        vendor="ome-zarr",
        levels=tuple(Level(size, factor) for size, factor in zip(sizes, downsamples(sizes), strict=True)),
        mpp=pitch.mpp,
        finer=pitch.finer,
        objective=number(str(image.own.get("magnification"))),
        icc=_profile(image.folder / "icc") if image.own else None,
        associated={},
        properties={"ome-zarr.name": str(image.multiscale.get("name", ""))},
        remarks=_unstored(levels),
    )


def _profile(folder: Path) -> bytes | None:
    """What wsisr stores of colours; None where there is nothing."""
    if not is_zarr(folder):
        return None
    array = array_of(folder, _json(folder / "zarr.json"))
    return array.read((0,)).tobytes()[: array.shape[0]]


def _unstored(levels: tuple[ZarrLevel, ...]) -> tuple[str, ...]:
    """What is to be said where chunks are not there: they may be empty, or lost on the way."""
    found = [stored_of(level.array) for level in levels]
    lost, empty = sum(each.lost for each in found), sum(each.empty for each in found)
    said = [f"{lost} of {sum(each.files for each in found)} files"] if lost else []
    said += [f"{empty} chunks in shards"] if empty else []
    if not said:
        return ()
    return (f"{' and '.join(said)} of this OME-Zarr are not stored, and shown in its fill value or white",)


def _attributes(folder: Path) -> Mapping[str, Any]:
    if (folder / "zarr.json").is_file():
        return dict(_json(folder / "zarr.json").get("attributes", {}))
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
    array = array_of(place, _array_metadata(place))
    shape = dict(zip(axes, array.shape, strict=True))
    if shape["c"] != 3:
        raise ChunkError(f"{shape['c']} channels")
    if any(shape[axis] != 1 for axis in set(axes) & set("tz")):
        raise ChunkError("a stack of images")
    chunk = dict(zip(axes, array.coding.chunk, strict=True))
    return ZarrLevel(Size(shape["x"], shape["y"]), Size(chunk["x"], chunk["y"]), array, axes)


def _array_metadata(folder: Path) -> dict[str, Any]:
    return _json(folder / ("zarr.json" if (folder / "zarr.json").is_file() else ".zarray"))


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
