"""Reading OME-Zarr 0.4 and 0.5: facts of one of its images; pixels from only the chunks that a box touches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count, islice, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from wsisr.errors import SlideError, describe_error
from wsisr.files import find_outermost_zarr, is_zarr
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.parallel.threads import ThreadTeam
from wsisr.slides.level_geometry import LevelRecord
from wsisr.slides.pixel_size import derive_pixel_size, parse_number
from wsisr.slides.readers.tiled_level import TiledLevel
from wsisr.slides.readers.zarr_array import ChunkedArray, ZarrArrayError, parse_array
from wsisr.slides.readers.zarr_integrity import StoredCounts, adopt_stored_names
from wsisr.slides.series import ImageSeries, choose_series, describe_default_choice
from wsisr.slides.slide import Level, Slide, SlideInfo, compute_downsamples, make_read_error

CACHE_BYTES = 64 * 2**20
"""Decoded chunks cached per slide, as neighbouring boxes touch the same ones."""

_MAX_METADATA_BYTES = 16 * 2**20
MAX_IMAGES = 1000
"""Most images of one OME-Zarr that are listed; further ones are ignored."""

_RGB = ["FF0000", "00FF00", "0000FF"]
_UM_PER_UNIT = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6}

_MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError, RecursionError)
"""Errors that parsing metadata raises where its content is not as the format demands."""


@dataclass(frozen=True, slots=True)
class ZarrLevel(TiledLevel):
    """One level: chunks of one, two or more channels, combined into segments of three."""

    array: ChunkedArray
    axes: str
    """A letter for each axis of the array."""

    def decode_segment(self, index: int) -> Rgb:
        """Read and decode a whole segment, (h, w, 3)."""
        row, column = divmod(index, self.segments_per_row)
        chunks = -(-3 // self.array.codec.chunk_shape[self.axes.index("c")])
        return np.concatenate([self._read_chunk(number, row, column) for number in range(chunks)], axis=2)[..., :3]

    def _read_chunk(self, channel_chunk: int, row: int, column: int) -> Rgb:
        """Read one chunk as (h, w, channels of a chunk)."""
        index = {"c": channel_chunk, "y": row, "x": column}
        chunk = self.array.read_chunk(tuple(index.get(axis, 0) for axis in self.axes))
        single_axes = [position for position, axis in enumerate(self.axes) if axis not in index]
        pixels = chunk.transpose(*single_axes, *(self.axes.index(axis) for axis in "yxc"))
        return np.asarray(pixels[(0,) * len(single_axes)])


class ZarrSlide(Slide):
    """A slide read from the chunks of an OME-Zarr, decoded in several threads."""

    def __init__(self, info: SlideInfo, levels: tuple[ZarrLevel, ...]) -> None:
        self._info, self._levels = info, levels
        largest = max(level.segment_bytes for level in levels)
        self._decode_cached = lru_cache(maxsize=max(1, CACHE_BYTES // largest))(self._decode)
        self._team = ThreadTeam(min(level.max_threads for level in levels), "wsisr-decode")
        self._closed = False

    @property
    def info(self) -> SlideInfo:
        return self._info

    def read(self, box: Box, level: int) -> Rgb:
        if self._closed:
            raise ValueError(f"{self.info.path}: read after close")
        self.info.get_level(level)
        try:
            return self._levels[level].read_box(
                box, lambda index, place: self._decode_cached(level, index)[place.rows, place.columns], self._team
            )
        except (ValueError, RuntimeError, OSError) as error:
            raise make_read_error(self.info.path, level, box, error) from error

    def close(self) -> None:
        self._closed = True
        self._team.close()
        self._decode_cached.cache_clear()

    def _decode(self, level: int, index: int) -> Rgb:
        return self._levels[level].decode_segment(index)


def open_zarr(path: Path, series: int | None = None) -> tuple[SlideInfo, tuple[ZarrLevel, ...]]:
    """Read facts and levels of one image of an OME-Zarr; of several that number `series`, by default the largest.

    These are what its metadata record; `select_stored_levels` compares them with the files.

    Raises `SlideError` where it is damaged, holds no image, or one that is not 8-bit RGB of one focal plane.
    """
    with _translate_errors(path):
        _refuse_single_array(path)
        images = list(islice(_find_images(path), MAX_IMAGES))
        if not images:
            raise ValueError("no image")
        all_series = tuple(_make_series(image) for image in images)
        chosen = choose_series(path, all_series, series)
        levels = images[chosen].load_levels()
        info = _build_info(path, images[chosen], levels)
        if len(images) > 1:
            warnings = () if series is not None else describe_default_choice(all_series, chosen)
            info = replace(info, all_series=all_series, series_number=chosen, warnings=warnings + info.warnings)
        return info, levels


def select_stored_levels(info: SlideInfo, levels: tuple[ZarrLevel, ...]) -> tuple[SlideInfo, tuple[ZarrLevel, ...]]:
    """Return facts and levels of what is stored of an OME-Zarr, each level under the names that its files have.

    A level of which nothing is stored would be shown in white, so it is left out, with a warning.
    Raises `SlideError` where nothing of the finest level is stored.
    """
    with _translate_errors(info.path):
        stored = [(level, *adopt_stored_names(level.array)) for level in levels]
    empty = [
        f"level {number} ({level.size} px) is not used: none of its {counts.expected_files} files in folder "
        f"{array.folder.name} is stored, or they are empty"
        for number, (level, array, counts) in enumerate(stored)
        if counts.is_empty
    ]
    if stored[0][2].is_empty:
        raise SlideError(f"{info.path}: {empty[0]}; copy the OME-Zarr again, with all files of its folders")
    used = [number for number, (_, _, counts) in enumerate(stored) if not counts.is_empty]
    missing_chunks = _describe_missing_chunks([stored[number][2] for number in used])
    selected = replace(
        info,
        levels=tuple(info.levels[number] for number in used),
        level_records=tuple(info.level_records[number] for number in used),
        warnings=(*info.warnings, *missing_chunks, *empty),
    )
    return selected, tuple(replace(levels[number], array=stored[number][1]) for number in used)


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except ZarrArrayError as error:
        raise SlideError(f"{path}: {_describe_unsupported(error)}") from error
    except _MALFORMED as error:
        raise SlideError(f"{path}: {_describe_damage(error)}") from error


def _describe_unsupported(error: ZarrArrayError) -> str:
    return f"holds {error}; give an OME-Zarr 0.4 or 0.5 of 8-bit RGB"


def _describe_damage(error: Exception) -> str:
    return f"not an OME-Zarr image, or a damaged one ({describe_error(error)}); give the folder of an image"


@dataclass(frozen=True, slots=True)
class ZarrImage:
    """One multiscale image: its folder and its metadata."""

    folder: Path
    multiscale: Mapping[str, Any]
    """The image's entry in OME-NGFF's `multiscales`."""
    ngff_attributes: Mapping[str, Any]
    """All OME-NGFF attributes of the group that holds the image."""
    wsisr_attributes: Mapping[str, Any]
    """Attributes that wsisr writes; empty in the files of others."""

    @property
    def axes(self) -> str:
        """A letter for each axis."""
        return "".join(axis["name"] for axis in self.multiscale["axes"])

    def load_levels(self) -> tuple[ZarrLevel, ...]:
        """Load the levels from fine to coarse. Raises `ZarrArrayError` unless it is 8-bit RGB of one focal plane."""
        _require_flat_axes(self.axes)
        _require_rgb_channels(self.ngff_attributes)
        levels = tuple(_load_level(self.folder, dataset["path"], self.axes) for dataset in self.multiscale["datasets"])
        sizes = [level.size for level in levels]
        if sizes != sorted(sizes, key=lambda size: size.pixel_count, reverse=True):
            raise ZarrArrayError("levels that do not go from fine to coarse")
        return levels


def _refuse_single_array(path: Path) -> None:
    """Raise `SlideError` for the array of a single level, which has neither pixel size nor axes."""
    metadata = path / "zarr.json"
    if (path / ".zarray").is_file() or (metadata.is_file() and _read_json(metadata).get("node_type") == "array"):
        raise SlideError(
            f"{path}: is one array of {find_outermost_zarr(path)}; give that folder, or that of an image in it"
        )


def _find_images(folder: Path) -> Iterator[ZarrImage]:
    """Yield the images of a group, or those of its groups 0, 1, ..., as bioformats2raw writes the images of a file."""
    attributes = _read_attributes(folder)
    ngff_attributes = attributes.get("ome", attributes)
    if "plate" in ngff_attributes:
        raise ZarrArrayError("a plate of many images")
    if "multiscales" not in ngff_attributes and is_zarr(folder / "0"):
        for group in takewhile(is_zarr, (folder / str(number) for number in count())):
            yield from _list_images_in_group(group)
    else:
        ngff_attributes["multiscales"]  # raises where the group is no image
        yield from _list_images_in_group(folder)


def _list_images_in_group(group: Path) -> Iterator[ZarrImage]:
    attributes = _read_attributes(group)
    ngff_attributes = attributes.get("ome", attributes)
    for multiscale in ngff_attributes.get("multiscales", []):
        yield ZarrImage(group, multiscale, ngff_attributes, attributes.get("wsisr", {}))


def _make_series(image: ZarrImage) -> ImageSeries:
    """Describe one image; one that is damaged gets a refusal, so that the others can be read."""
    name = str(image.multiscale.get("name", ""))
    try:
        return ImageSeries(name, image.load_levels()[0].size)
    except ZarrArrayError as error:
        return ImageSeries(name, _read_declared_size(image), _describe_unsupported(error))
    except _MALFORMED as error:
        return ImageSeries(name, _read_declared_size(image), _describe_damage(error))


def _read_declared_size(image: ZarrImage) -> Size | None:
    """Read the size of an image that cannot be read, as far as its metadata tell it."""
    with suppress(ZarrArrayError, *_MALFORMED):
        shape = _read_array_metadata(_level_folder(image.folder, image.multiscale["datasets"][0]["path"]))["shape"]
        return Size(int(shape[image.axes.index("x")]), int(shape[image.axes.index("y")]))
    return None


def _build_info(path: Path, image: ZarrImage, levels: tuple[ZarrLevel, ...]) -> SlideInfo:
    sizes = [level.size for level in levels]
    pixel_size = derive_pixel_size(*(_parse_axis_mpp(image.multiscale, image.axes.index(axis)) for axis in "xy"))
    return SlideInfo(
        path=path,
        reader="imagecodecs",
        vendor="ome-zarr",
        levels=tuple(Level(size, factor) for size, factor in zip(sizes, compute_downsamples(sizes), strict=True)),
        mpp=pixel_size.mpp,
        pixel_aspect=pixel_size.pixel_aspect,
        objective=parse_number(str(image.wsisr_attributes.get("magnification"))),
        icc=_read_icc_profile(image.folder / "icc") if image.wsisr_attributes else None,
        associated={},
        properties={"ome-zarr.name": str(image.multiscale.get("name", ""))},
        level_records=_make_level_records(image, levels),
    )


def _make_level_records(image: ZarrImage, levels: tuple[ZarrLevel, ...]) -> tuple[LevelRecord, ...]:
    axes = [image.axes.index(axis) for axis in "xy"]
    steps = [dataset.get("coordinateTransformations", []) for dataset in image.multiscale["datasets"]]
    return tuple(
        LevelRecord(
            level.size,
            level.segment_size,
            _parse_transformation(level_steps, "scale", axes),
            _parse_transformation(level_steps, "translation", axes),
        )
        for level, level_steps in zip(levels, steps, strict=True)
    )


def _parse_transformation(
    steps: Sequence[Mapping[str, Any]], kind: str, axes: Sequence[int]
) -> tuple[float, float] | None:
    """Parse the numbers of the first transformation of a kind along x and y; None where there is none."""
    numbers = next((step[kind] for step in steps if step["type"] == kind and kind in step), None)
    if numbers is None:
        return None
    x, y = (parse_number(str(numbers[axis])) for axis in axes)
    return None if x is None or y is None else (x, y)


def _read_icc_profile(folder: Path) -> bytes | None:
    """Read the ICC profile that wsisr stores in an array beside the levels; None where there is none."""
    if not is_zarr(folder):
        return None
    array = parse_array(folder, _read_json(folder / "zarr.json"))
    return array.read_chunk((0,)).tobytes()[: array.shape[0]]


def _describe_missing_chunks(counts: Sequence[StoredCounts]) -> tuple[str, ...]:
    """Return a warning where chunks are not stored: they may be empty, or lost in a copy."""
    files, missing_files = (sum(level.expected_files for level in counts), sum(level.missing_files for level in counts))
    missing_chunks = sum(level.missing_chunks for level in counts)
    missing = [f"{missing_files} of {files} files"] if missing_files else []
    missing += [f"{missing_chunks} chunks in shards"] if missing_chunks else []
    if not missing:
        return ()
    return (f"{' and '.join(missing)} of this OME-Zarr are not stored, and shown in its fill value or white",)


def _read_attributes(folder: Path) -> Mapping[str, Any]:
    if (folder / "zarr.json").is_file():
        return dict(_read_json(folder / "zarr.json").get("attributes", {}))
    return _read_json(folder / ".zattrs")


def _read_json(file: Path) -> dict[str, Any]:
    if file.stat().st_size > _MAX_METADATA_BYTES:
        raise ZarrArrayError(f"metadata of {file.stat().st_size} bytes")
    return dict(json.loads(file.read_bytes()))


def _require_flat_axes(axes: str) -> None:
    if sorted(set(axes) & set("cyx")) != list("cxy") or len(set(axes)) != len(axes) or set(axes) - set("tczyx"):
        raise ZarrArrayError(f"axes {axes} in place of c, y, x")


def _require_rgb_channels(ngff_attributes: Mapping[str, Any]) -> None:
    channels = ngff_attributes.get("omero", {}).get("channels", [])
    colours = [str(channel.get("color", "")).upper() for channel in channels]
    if len(set(colours)) > 1 and colours != _RGB:
        raise ZarrArrayError(f"channels coloured {', '.join(colours)}, as in fluorescence,")


def _load_level(folder: Path, path: str, axes: str) -> ZarrLevel:
    level_folder = _level_folder(folder, path)
    array = parse_array(level_folder, _read_array_metadata(level_folder))
    shape = dict(zip(axes, array.shape, strict=True))
    if shape["c"] != 3:
        raise ZarrArrayError(f"{shape['c']} channels")
    if any(shape[axis] != 1 for axis in set(axes) & set("tz")):
        raise ZarrArrayError("a stack of images")
    chunk = dict(zip(axes, array.codec.chunk_shape, strict=True))
    return ZarrLevel(Size(shape["x"], shape["y"]), Size(chunk["x"], chunk["y"]), array, axes)


def _level_folder(folder: Path, path: str) -> Path:
    """Return the folder of a level by its path from the image. Raises `ZarrArrayError` where it leads elsewhere."""
    if not path or Path(path).is_absolute() or ".." in Path(path).parts:
        raise ZarrArrayError("a level outside its folder")
    return folder / path


def _read_array_metadata(folder: Path) -> dict[str, Any]:
    return _read_json(folder / ("zarr.json" if (folder / "zarr.json").is_file() else ".zarray"))


def _parse_axis_mpp(multiscale: Mapping[str, Any], axis: int) -> float | None:
    """Parse the um/px of the finest level along one axis: its own scale times that of all levels."""
    transformations = [
        *multiscale["datasets"][0].get("coordinateTransformations", []),
        *multiscale.get("coordinateTransformations", []),
    ]
    scales = [parse_number(str(step["scale"][axis])) for step in transformations if step["type"] == "scale"]
    mpp = _UM_PER_UNIT.get(multiscale["axes"][axis].get("unit", ""))
    for scale in scales:
        mpp = None if mpp is None or scale is None else mpp * scale
    return mpp if scales else None
