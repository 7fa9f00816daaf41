"""Completeness of a zarr array: which of its files, and of the chunks in its shards, are stored and undamaged."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt

from wsisr.bounds import MAX_ZARR_FILES
from wsisr.errors import describe_error
from wsisr.remote.path import is_url
from wsisr.slides.readers.zarr_array import (
    MISSING_CHUNK,
    ChunkedArray,
    ChunkIndex,
    DamagedChunkError,
    ShardLayout,
    ZarrArrayError,
    list_file_namings,
)

_NUMBER = re.compile("[0-9]+")


@dataclass(frozen=True, slots=True)
class StoredCounts:
    """How much of an array is stored."""

    expected_files: int
    """Files that a complete array has."""
    missing_files: int
    """Files of these that do not exist."""
    missing_chunks: int
    """Chunks that their shard does not store, where the array names no fill value; else they count as stored."""
    is_empty: bool
    """Whether not a single chunk is stored."""


def adopt_stored_names(array: ChunkedArray) -> tuple[ChunkedArray, StoredCounts]:
    """Return the array with the names under which most of its files lie, by default the recorded ones; and its counts.

    By URL the names are the recorded ones and all files count as stored, as HTTP lists none.

    Copies and converters lose the record: zarr 2 leaves the separator out where it is a point, and programs that store
    chunks in nested folders have done the same.
    """
    if is_url(array.folder):
        return array, StoredCounts(_count_expected_files(array), missing_files=0, missing_chunks=0, is_empty=False)
    existing, expected_files = _list_files(array.folder), _count_expected_files(array)
    stored_files = _find_stored_files(array, existing)
    for naming in list_file_namings() if len(stored_files) < expected_files else ():
        other = replace(array, file_name_of=naming)
        stored_by_other = _find_stored_files(other, existing)
        if len(stored_by_other) > len(stored_files):
            array, stored_files = other, stored_by_other
    counts_chunks = array.shard_layout and array.fill_value is None
    return array, StoredCounts(
        expected_files,
        expected_files - len(stored_files),
        _count_missing_chunks(array, stored_files) if counts_chunks else 0,
        is_empty=not _is_anything_stored(array, stored_files),
    )


def find_damaged_chunks(array: ChunkedArray) -> Iterator[str]:
    """Yield each chunk that is stored and cannot be read, with the reason; reads the array chunk by chunk."""
    for index in np.ndindex(array.chunk_grid):
        try:
            array.read_chunk(index)
        except DamagedChunkError as error:
            yield describe_error(error)
        except OSError as error:
            yield f"chunk {'/'.join(map(str, index))}: {describe_error(error)}"


def find_damaged_indexes(array: ChunkedArray) -> Iterator[ChunkIndex]:
    """Yield the shards whose index is missing or contradicts its checksum: stored chunks may seem to be missing."""
    for shard in np.ndindex(array.file_grid) if array.shard_layout else ():
        try:
            read_shard_index(array, shard)
        except (ZarrArrayError, FileNotFoundError):
            yield shard


def find_missing_files(array: ChunkedArray) -> Iterator[ChunkIndex]:
    """Yield the index of each file that does not exist. Raises `ZarrArrayError` for more than `MAX_ZARR_FILES`."""
    _count_expected_files(array)
    existing = _list_files(array.folder)
    return (index for index in np.ndindex(array.file_grid) if array.file_name_of(index) not in existing)


def read_shard_index(array: ChunkedArray, shard: ChunkIndex) -> npt.NDArray[np.uint64]:
    """Read (chunks, 2) of offset and length of those chunks of a shard that lie in the array.

    Raises `ZarrArrayError` where the index is damaged.
    """
    assert array.shard_layout is not None
    entries = _read_whole_index(array.shard_layout, array.folder / array.file_name_of(shard))
    return entries[_mask_within_array(array, shard)]


def _count_expected_files(array: ChunkedArray) -> int:
    """Return how many files a complete array has. Raises `ZarrArrayError` for more than `MAX_ZARR_FILES`."""
    files = math.prod(array.file_grid)
    if files > MAX_ZARR_FILES:
        raise ZarrArrayError(f"an array of {files} files")
    return files


def _find_stored_files(array: ChunkedArray, existing: set[str]) -> set[ChunkIndex]:
    """Return the index of each existing file of the array: time is that of the files, not of what the array claims."""
    indices = {name: tuple(map(int, _NUMBER.findall(name))) for name in existing}
    return {
        index
        for name, index in indices.items()
        if len(index) == len(array.file_grid)
        and all(number < count for number, count in zip(index, array.file_grid, strict=True))
        and array.file_name_of(index) == name
    }


def _is_anything_stored(array: ChunkedArray, stored_files: set[ChunkIndex]) -> bool:
    """Whether a file exists that stores at least one chunk."""
    return any(array.shard_layout is None or _stores_chunks(array, index) for index in sorted(stored_files))


def _stores_chunks(array: ChunkedArray, shard: ChunkIndex) -> bool:
    """Whether a shard stores a chunk; true where its index is damaged, as reading a box there then raises an error."""
    try:
        return bool((read_shard_index(array, shard)[:, 0] != MISSING_CHUNK).any())
    except ZarrArrayError:
        return True


def _count_missing_chunks(array: ChunkedArray, stored_files: set[ChunkIndex]) -> int:
    """Count the chunks that the existing shards do not store."""
    missing_chunks = 0
    for shard in stored_files:
        with suppress(ZarrArrayError):  # reading a box there raises an error that names it
            missing_chunks += int((read_shard_index(array, shard)[:, 0] == MISSING_CHUNK).sum())
    return missing_chunks


def _read_whole_index(shards: ShardLayout, file: Path) -> npt.NDArray[np.uint64]:
    """Read (chunks, 2) of offset and length of every chunk, row by row."""
    index_bytes, file_bytes = 16 * math.prod(shards.chunks_per_shard), file.stat().st_size
    with file.open("rb") as opened:
        opened.seek(max(0, shards.entry_offset(0, file_bytes)))
        data, crc = opened.read(index_bytes), opened.read(4)
    if len(data) < index_bytes or (shards.has_checksum and google_crc32c.value(data) != int.from_bytes(crc, "little")):
        raise ZarrArrayError(f"a shard whose index is damaged ({file.name})")
    return np.frombuffer(data, "<u8").reshape(-1, 2)


def _mask_within_array(array: ChunkedArray, shard: ChunkIndex) -> npt.NDArray[np.bool_]:
    """Return a flag for each chunk of a shard, row by row: whether it lies in the array."""
    in_shard = np.indices(array.chunks_per_file).reshape(len(shard), -1).T
    return np.asarray((in_shard + np.multiply(shard, array.chunks_per_file) < array.chunk_grid).all(axis=1))


def _list_files(folder: Path) -> set[str]:
    """Return the paths, relative to a folder, of all files below it."""
    return {Path(where, name).relative_to(folder).as_posix() for where, _, files in os.walk(folder) for name in files}
