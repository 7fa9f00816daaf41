"""What of a zarr array is there: its files, and in shards the chunks that their tables name."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt

from wsisr.errors import describe_error
from wsisr.slides.readers.zarr_array import MISSING_CHUNK, ChunkedArray, ChunkIndex, ShardLayout, ZarrArrayError

MAX_FILES = 10**7
"""Of one array: more than any slide has in chunks of 64 px, and still a matter of seconds."""


@dataclass(frozen=True, slots=True)
class StoredCounts:
    """Counts."""

    expected_files: int
    """That the array should have."""
    missing_files: int
    """Files that are not there."""
    missing_chunks: int
    """Chunks that the table of their shard leaves out, and for which the array names no value."""


def count_stored(array: ChunkedArray) -> StoredCounts:
    """Looks for every file, and into the tables of shards where it matters what they leave out."""
    lost = set(find_missing_files(array))
    empty = _count_missing_chunks(array, lost) if array.shard_layout and array.fill_value is None else 0
    return StoredCounts(math.prod(array.file_grid), len(lost), empty)


def find_damaged_chunks(array: ChunkedArray) -> Iterator[str]:
    """Chunks that are there and do not decode, each with the reason. Reads all of the array, one chunk at a time."""
    for place in np.ndindex(array.chunk_grid):
        try:
            array.read_chunk(place)
        except (ValueError, RuntimeError, OSError) as error:
            yield f"chunk {'/'.join(map(str, place))}: {describe_error(error)}"


def find_damaged_indexes(array: ChunkedArray) -> Iterator[ChunkIndex]:
    """Shards whose table is not what its checksum says: they may leave out what was stored."""
    for place in np.ndindex(array.file_grid) if array.shard_layout else ():
        try:
            read_shard_index(array, place)
        except (ZarrArrayError, FileNotFoundError):
            yield place


def find_missing_files(array: ChunkedArray) -> Iterator[ChunkIndex]:
    """Places of files that are not there."""
    if math.prod(array.file_grid) > MAX_FILES:
        raise ZarrArrayError(f"an array of {math.prod(array.file_grid)} files")
    there = _list_files(array.folder)
    return (place for place in np.ndindex(array.file_grid) if array.file_name_of(place) not in there)


def read_shard_index(array: ChunkedArray, place: ChunkIndex) -> npt.NDArray[np.uint64]:
    """(chunks, 2) of offset and length of those chunks of a shard that lie in the array.

    Raises `ZarrArrayError` where the table is damaged.
    """
    assert array.shard_layout is not None
    return _read_index(array.shard_layout, array.folder / array.file_name_of(place))[_is_within_array(array, place)]


def _count_missing_chunks(array: ChunkedArray, lost: set[ChunkIndex]) -> int:
    left_out = 0
    for place in np.ndindex(array.file_grid):
        with suppress(ZarrArrayError):  # who reads a box there is told
            left_out += 0 if place in lost else int((read_shard_index(array, place)[:, 0] == MISSING_CHUNK).sum())
    return left_out


def _read_index(shards: ShardLayout, file: Path) -> npt.NDArray[np.uint64]:
    """(chunks, 2) of offset and length of every chunk, row by row."""
    count, file_bytes = 16 * math.prod(shards.chunks_per_shard), file.stat().st_size
    with file.open("rb") as opened:
        opened.seek(max(0, shards.entry_offset(0, file_bytes)))
        data, crc = opened.read(count), opened.read(4)
    if len(data) < count or (shards.has_checksum and google_crc32c.value(data) != int.from_bytes(crc, "little")):
        raise ZarrArrayError(f"a shard whose table is damaged ({file.name})")
    return np.frombuffer(data, "<u8").reshape(-1, 2)


def _is_within_array(array: ChunkedArray, place: ChunkIndex) -> npt.NDArray[np.bool_]:
    """Which chunks of a file lie in the array, row by row."""
    held = np.indices(array.chunks_per_file).reshape(len(place), -1).T
    return np.asarray((held + np.multiply(place, array.chunks_per_file) < array.chunk_grid).all(axis=1))


def _list_files(folder: Path) -> set[str]:
    """Of all files below a folder, from there."""
    return {Path(where, name).relative_to(folder).as_posix() for where, _, files in os.walk(folder) for name in files}
