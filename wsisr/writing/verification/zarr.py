"""An OME-Zarr as wsisr's own reader and the zarr library see it, and whether all of its tiles are there and whole."""

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
from wsisr.slides.slide import Level, Slide, SlideInfo, compute_downsamples
from wsisr.writing.layouts.ome_zarr import OWN_ATTRIBUTE, PROFILE_ARRAY
from wsisr.writing.verification.expectation import Expectation, Finding
from wsisr.writing.verification.readers_agree import ReaderComparison

_ZARR_ERRORS = (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, ArithmeticError)
"""What the zarr library has been seen to raise."""

PLACE_TOLERANCE = 1e-6
"""Px of level 0; what is left is rounding, mostly."""

_MAX_PROFILE_BYTES = 2**26


def check_zarr(path: Path, meant: Expectation, *, chunks: bool) -> Iterator[Finding]:
    """With `chunks`, each of them is read. Raises `SlideError` where it is too damaged to look further."""
    # Our reader knows a short list of codecs; only what is made of these is shown to a library that takes any.
    info, levels = open_zarr(path)
    try:
        group = zarr.open_group(path, mode="r", use_consolidated=False)
        arrays = [group[str(number)] for number in range(len(levels))]
        yield _check_chunks([level.array for level in levels], chunks=chunks)
        yield _check_placement(dict(group.attrs))
        with ZarrSlide(info, levels) as one, ZarrLibrarySlide(path, dict(group.attrs), arrays) as other:
            yield from ReaderComparison(one, other, tuple(level.segment_size for level in levels)).iterate_findings(
                meant
            )
    except _ZARR_ERRORS as error:
        raise SlideError(f"{path}: a damaged zarr ({describe_error(error)})") from error


class ZarrLibrarySlide(Slide):
    """Levels as the zarr library reads them."""

    def __init__(self, path: Path, attributes: dict[str, Any], arrays: list[Any]) -> None:
        self._arrays = arrays
        sizes = [Size(array.shape[2], array.shape[1]) for array in arrays]
        levels = (Level(size, factor) for size, factor in zip(sizes, compute_downsamples(sizes), strict=True))
        multiscale = attributes["ome"]["multiscales"][0]
        steps = multiscale["datasets"][0]["coordinateTransformations"]
        scale = next(step["scale"] for step in steps if step["type"] == "scale")
        known = all(axis.get("unit") == "micrometer" for axis in multiscale["axes"][1:])
        facts = SlideInfo(path, "zarr", "ome-zarr", tuple(levels), None, None, _read_profile(path), {}, {})
        objective = attributes.get(OWN_ATTRIBUTE, {}).get("magnification")
        self._info = replace(facts, mpp=float(scale[2]) if known else None, objective=objective)

    @property
    def info(self) -> SlideInfo:
        return self._info

    def read(self, box: Box, level: int) -> Rgb:
        return np.moveaxis(np.asarray(self._arrays[level][:, box.rows, box.columns]), 0, -1)

    def close(self) -> None:
        pass


def _read_profile(path: Path) -> bytes | None:
    place = path / PROFILE_ARRAY
    if not place.is_dir():
        return None
    array: Any = zarr.open_array(place, mode="r")
    return np.asarray(array[:_MAX_PROFILE_BYTES]).tobytes()


def _check_chunks(arrays: Sequence[ChunkedArray], *, chunks: bool) -> Finding:
    """Every shard is there, its table as its checksum says, and every chunk that it names decodes to its own checksum.

    With `chunks` it reads all of it, one at a time.
    """
    lost = sum(1 for array in arrays for _ in find_missing_files(array))
    tables = sum(1 for array in arrays for _ in find_damaged_indexes(array))
    read = enumerate(arrays if chunks else ())
    damaged = [f"level {number}, {said}" for number, array in read for said in find_damaged_chunks(array)]
    first = f", first {damaged[0]}" if damaged else ""
    room = sum(math.prod(array.chunk_grid) for array in arrays)
    words = f"room for {room} in {len(arrays)} levels; {lost} shards missing, {tables} tables damaged"
    return Finding(
        "tiles", not (lost or tables or damaged), f"{words}, {format_count(len(damaged), 'tile')} damaged{first}"
    )


def _check_placement(attributes: dict[str, Any]) -> Finding:
    """The first pixel of each level lies in the middle of those of level 0 that it shows, and is that much larger."""
    off = 0.0
    steps = [dataset["coordinateTransformations"] for dataset in attributes["ome"]["multiscales"][0]["datasets"]]
    (finest, first), *_ = found = [(np.array(scale["scale"]), np.array(shift["translation"])) for scale, shift in steps]
    for number, (scale, shift) in enumerate(found):
        wanted = finest * (1, 2**number, 2**number)
        apart = np.abs([scale - wanted, shift - first - (wanted - finest) / 2]).max()
        off = max(off, float(apart / finest[2]))
    return Finding("places", off < PLACE_TOLERANCE, f"levels lie up to {off:.2g} px of level 0 from where they should")
