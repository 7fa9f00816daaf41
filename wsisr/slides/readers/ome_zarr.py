"""Reading OME-Zarr 0.1 to 0.5: facts of one of its images; pixels from only the chunks that a box touches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from wsisr.bounds import MAX_SERIES, MAX_XML_CHARACTERS
from wsisr.errors import SlideError, describe_error
from wsisr.files import find_outermost_zarr, is_zarr
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb
from wsisr.remote.path import is_url
from wsisr.slides.level_geometry import LevelRecord
from wsisr.slides.pixel_size import check_unit, derive_pixel_size, parse_number
from wsisr.slides.readers.ngff import ZarrImage, find_images, read_array_metadata, read_metadata_json
from wsisr.slides.readers.ome_xml import parse_ome_facts
from wsisr.slides.readers.tiled_level import TiledLevel
from wsisr.slides.readers.tiled_slide import TiledSlide
from wsisr.slides.readers.zarr_array import ChunkedArray, ZarrArrayError, parse_array
from wsisr.slides.readers.zarr_integrity import StoredCounts, adopt_stored_names
from wsisr.slides.series import ImageSeries, choose_series, describe_default_choice
from wsisr.slides.slide import Level, SlideInfo, compute_downsamples

UNCOUNTED_CHUNKS = "by URL the chunks of an OME-Zarr are not counted: one that is missing is in its fill value or white"

_OME_XML = Path("OME", "METADATA.ome.xml")
"""Where bioformats2raw stores the metadata of all images."""

_RGB = ["FF0000", "00FF00", "0000FF"]

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


class ZarrSlide(TiledSlide[ZarrLevel]):
    """A slide read from the chunks of an OME-Zarr."""

    decoding_errors = (ValueError, RuntimeError, OSError)

    def _decode(self, level: int, index: int) -> Rgb:
        return self._levels[level].decode_segment(index)


def open_zarr(path: Path, series: int | None = None) -> tuple[SlideInfo, tuple[ZarrLevel, ...]]:
    """Read facts and levels of one image of an OME-Zarr; of several that number `series`, by default the largest.

    These are what its metadata record; `select_stored_levels` compares them with the files.

    Raises `SlideError` where it is damaged, holds no image, or one that is not 8-bit RGB of one focal plane.
    """
    with _translate_errors(path):
        _refuse_single_array(path)
        images = list(islice(find_images(path), MAX_SERIES))
        if not images:
            raise ValueError("no image")
        all_series = tuple(_make_series(image) for image in images)
        chosen = choose_series(path, all_series, series)
        levels = load_levels(images[chosen])
        info = _build_info(path, images[chosen], levels)
        if len(images) > 1:
            warnings = () if series is not None else describe_default_choice(all_series, chosen)
            info = replace(info, all_series=all_series, series_number=chosen, warnings=warnings + info.warnings)
        return _complete_by_ome_xml(info), levels


def _complete_by_ome_xml(info: SlideInfo) -> SlideInfo:
    """Return the facts with the pixel size that only OME-XML records, which bioformats2raw stores beside the images."""
    document = info.path / _OME_XML
    is_inside = document.is_file() and document.resolve().is_relative_to(info.path.resolve())
    if info.mpp is not None or not is_inside or document.stat().st_size > MAX_XML_CHARACTERS:
        return info
    facts = parse_ome_facts(document.read_text("utf-8", errors="replace"), info.size)
    if facts.pixel_size.mpp is None:
        return info
    return replace(
        info,
        mpp=facts.pixel_size.mpp,
        pixel_aspect=facts.pixel_size.pixel_aspect,
        objective=info.objective or facts.objective,
    )


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
        warnings=(*info.warnings, *missing_chunks, *empty, *((UNCOUNTED_CHUNKS,) if is_url(info.path) else ())),
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
    return f"holds {error}; give an OME-Zarr 0.1 to 0.5 of 8-bit RGB"


def _describe_damage(error: Exception) -> str:
    return f"not an OME-Zarr image, or a damaged one ({describe_error(error)}); give the folder of an image"


def load_levels(image: ZarrImage) -> tuple[ZarrLevel, ...]:
    """Load the levels from fine to coarse. Raises `ZarrArrayError` unless it is 8-bit RGB of one focal plane."""
    _require_flat_axes(image.axes)
    _require_rgb_channels(image.ngff_attributes)
    levels = tuple(_load_level(folder, image.axes) for folder in image.level_folders)
    sizes = [level.size for level in levels]
    if sizes != sorted(sizes, key=lambda size: size.pixel_count, reverse=True):
        raise ZarrArrayError("levels that do not go from fine to coarse")
    return levels


def _refuse_single_array(path: Path) -> None:
    """Raise `SlideError` for the array of a single level, which has neither pixel size nor axes."""
    metadata = path / "zarr.json"
    if (path / ".zarray").is_file() or (
        metadata.is_file() and read_metadata_json(metadata).get("node_type") == "array"
    ):
        raise SlideError(
            f"{path}: is one array of {find_outermost_zarr(path)}; give that folder, or that of an image in it"
        )


def _make_series(image: ZarrImage) -> ImageSeries:
    """Describe one image; one that is damaged gets a refusal, so that the others can be read."""
    name = image.name
    try:
        return ImageSeries(name, load_levels(image)[0].size)
    except ZarrArrayError as error:
        return ImageSeries(name, _read_declared_size(image), _describe_unsupported(error))
    except _MALFORMED as error:
        return ImageSeries(name, _read_declared_size(image), _describe_damage(error))


def _read_declared_size(image: ZarrImage) -> Size | None:
    """Read the size of an image that cannot be read, as far as its metadata tell it."""
    with suppress(ZarrArrayError, *_MALFORMED):
        shape = read_array_metadata(image.level_folders[0])["shape"]
        return Size(int(shape[image.axes.index("x")]), int(shape[image.axes.index("y")]))
    return None


def _build_info(path: Path, image: ZarrImage, levels: tuple[ZarrLevel, ...]) -> SlideInfo:
    sizes = [level.size for level in levels]
    pixel_size = derive_pixel_size(*image.axis_mpp)
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
        properties={"ome-zarr.name": image.name},
        warnings=tuple(check_unit(image.unknown_unit)),
        level_records=_make_level_records(image, levels),
    )


def _make_level_records(image: ZarrImage, levels: tuple[ZarrLevel, ...]) -> tuple[LevelRecord, ...]:
    facts = zip(
        levels,
        image.parse_level_transformations("scale"),
        image.parse_level_transformations("translation"),
        strict=True,
    )
    return tuple(LevelRecord(level.size, level.segment_size, scale, origin) for level, scale, origin in facts)


def _read_icc_profile(folder: Path) -> bytes | None:
    """Read the ICC profile that wsisr stores in an array beside the levels; None where there is none."""
    if not is_zarr(folder):
        return None
    array = parse_array(folder, read_metadata_json(folder / "zarr.json"))
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


def _require_flat_axes(axes: str) -> None:
    if sorted(set(axes) & set("cyx")) != list("cxy") or len(set(axes)) != len(axes) or set(axes) - set("tczyx"):
        raise ZarrArrayError(f"axes {axes} in place of c, y, x")


def _require_rgb_channels(ngff_attributes: Mapping[str, Any]) -> None:
    channels = ngff_attributes.get("omero", {}).get("channels", [])
    colours = [str(channel.get("color", "")).upper() for channel in channels]
    if len(set(colours)) > 1 and colours != _RGB:
        raise ZarrArrayError(f"channels coloured {', '.join(colours)}, as in fluorescence,")


def _load_level(folder: Path, axes: str) -> ZarrLevel:
    array = parse_array(folder, read_array_metadata(folder))
    shape = dict(zip(axes, array.shape, strict=True))
    if shape["c"] != 3:
        raise ZarrArrayError(f"{shape['c']} channels")
    if any(shape[axis] != 1 for axis in set(axes) & set("tz")):
        raise ZarrArrayError("a stack of images")
    chunk = dict(zip(axes, array.codec.chunk_shape, strict=True))
    return ZarrLevel(Size(shape["x"], shape["y"]), Size(chunk["x"], chunk["y"]), array, axes)
