"""Checks an OME-Zarr with wsisr's own reader and the zarr library, and that all of its tiles are there and intact."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from wsisr.errors import SlideError, describe_error
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.progress import format_count
from wsisr.slides.readers.ome_zarr import ZarrSlide, open_zarr
from wsisr.slides.readers.zarr_array import ChunkedArray
from wsisr.slides.readers.zarr_integrity import find_damaged_chunks, find_damaged_indexes, find_missing_files
from wsisr.slides.slide import Level, Slide, SlideInfo, compute_downsamples, read_on_white
from wsisr.writing.layouts.ome_zarr import OWN_ATTRIBUTE, PROFILE_ARRAY
from wsisr.writing.verification.expectation import Expectation, Finding
from wsisr.writing.verification.readers_agree import ReaderComparison

_ZARR_ERRORS = (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, ArithmeticError)
"""Errors that the zarr library has been seen to raise for damaged files."""

PLACE_TOLERANCE = 1e-6
"""In px of level 0; smaller differences are rounding."""

_MAX_PROFILE_BYTES = 2**26


def check_zarr(path: Path, expected: Expectation, *, every_chunk: bool, every_tile: bool) -> Iterator[Finding]:
    """Yield the findings of all checks; with `every_chunk`, each chunk is read and compared with its checksum.

    Raises `SlideError` if the folder is too damaged to check it further.
    """
    # Our reader accepts a short list of codecs only. It goes first, because the zarr library would run any codec.
    info, levels = open_zarr(path)
    try:
        group = zarr.open_group(path, mode="r", use_consolidated=False)
        arrays = [group[str(number)] for number in range(len(levels))]
        yield _check_chunks([level.array for level in levels], every_chunk=every_chunk)
        yield _check_placement(dict(group.attrs))
        tile_sizes = tuple(level.segment_size for level in levels)
        with ZarrSlide(info, levels) as by_wsisr, ZarrLibrarySlide(path, dict(group.attrs), arrays) as by_zarr:
            yield from ReaderComparison(by_wsisr, by_zarr, tile_sizes, every_tile).iterate_findings(expected)
    except _ZARR_ERRORS as error:
        raise SlideError(f"{path}: a damaged zarr ({describe_error(error)})") from error


class ZarrLibrarySlide(Slide):
    """A slide whose levels the zarr library reads."""

    def __init__(self, path: Path, attributes: dict[str, Any], arrays: list[Any]) -> None:
        self._arrays = arrays
        self._closed = False
        sizes = [Size(array.shape[2], array.shape[1]) for array in arrays]
        levels = (Level(size, factor) for size, factor in zip(sizes, compute_downsamples(sizes), strict=True))
        multiscale = attributes["ome"]["multiscales"][0]
        transformations = multiscale["datasets"][0]["coordinateTransformations"]
        scale = next(step["scale"] for step in transformations if step["type"] == "scale")
        is_in_um = all(axis.get("unit") == "micrometer" for axis in multiscale["axes"][1:])
        facts = SlideInfo(path, "zarr", "ome-zarr", tuple(levels), None, None, _read_profile(path), {}, {})
        objective = attributes.get(OWN_ATTRIBUTE, {}).get("magnification")
        self._info = replace(facts, mpp=float(scale[2]) if is_in_um else None, objective=objective)

    @property
    def info(self) -> SlideInfo:
        return self._info

    def read(self, box: Box, level: int) -> Rgb:
        if self._closed:
            raise ValueError(f"{self.info.path}: read after close")

        def read_array(inside: Box) -> Rgb:
            return np.moveaxis(np.asarray(self._arrays[level][:, inside.rows, inside.columns]), 0, -1)

        return read_on_white(box, self.info.get_level(level).size, read_array)

    def close(self) -> None:
        self._closed = True


def _read_profile(path: Path) -> bytes | None:
    profile = path / PROFILE_ARRAY
    if not profile.is_dir():
        return None
    array: Any = zarr.open_array(profile, mode="r")
    return np.asarray(array[:_MAX_PROFILE_BYTES]).tobytes()


def _check_chunks(arrays: Sequence[ChunkedArray], *, every_chunk: bool) -> Finding:
    """Check that every shard exists and that its index matches its checksum.

    With `every_chunk`, also that each chunk of every index matches its own checksum; one is read at a time.
    """
    missing = sum(1 for array in arrays for _ in find_missing_files(array))
    damaged_indexes = sum(1 for array in arrays for _ in find_damaged_indexes(array))
    damaged = [
        f"level {number}, {chunk}"
        for number, array in enumerate(arrays if every_chunk else ())
        for chunk in find_damaged_chunks(array)
    ]
    first = f", first {damaged[0]}" if damaged else ""
    places = sum(math.prod(array.chunk_grid) for array in arrays)
    shards = f"{missing} shards missing, {damaged_indexes} shard indexes damaged"
    words = f"{places} tiles in {len(arrays)} levels; {shards}, {format_count(len(damaged), 'tile')} damaged{first}"
    return Finding("tiles", not (missing or damaged_indexes or damaged), words)


def _check_placement(attributes: dict[str, Any]) -> Finding:
    """Check that the first pixel of each level lies at the centre of the level-0 pixels that it shows.

    Its scale must be that many times the scale of level 0.
    """
    largest_error = 0.0
    datasets = attributes["ome"]["multiscales"][0]["datasets"]
    steps = [dataset["coordinateTransformations"] for dataset in datasets]
    levels = [(np.array(scale["scale"]), np.array(shift["translation"])) for scale, shift in steps]
    finest, origin = levels[0]
    for number, (scale, shift) in enumerate(levels):
        expected = finest * (1, 2**number, 2**number)
        error = np.abs([scale - expected, shift - origin - (expected - finest) / 2]).max()
        largest_error = max(largest_error, float(error / finest[2]))
    words = f"levels lie up to {largest_error:.2g} px of level 0 from their expected position"
    return Finding("places", largest_error < PLACE_TOLERANCE, words)
