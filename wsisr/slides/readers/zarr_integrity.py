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

from wsisr.errors import in_words
from wsisr.slides.readers.zarr_array import LEFT_OUT, ChunkedArray, ChunkError, Place, Shards

MOST_FILES = 10**7
"""Of one array: more than any slide has in chunks of 64 px, and still a matter of seconds."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Counts."""

    files: int
    """That the array should have."""
    lost: int
    """Files that are not there."""
    empty: int
    """Chunks that the table of their shard leaves out, and for which the array names no value."""


def stored_of(array: ChunkedArray) -> Stored:
    """Looks for every file, and into the tables of shards where it matters what they leave out."""
    lost = set(lost_files(array))
    empty = _left_out(array, lost) if array.shards and array.fill is None else 0
    return Stored(math.prod(array.files), len(lost), empty)


def damaged_chunks(array: ChunkedArray) -> Iterator[str]:
    """Chunks that are there and do not decode, each with the reason. Reads all of the array, one chunk at a time."""
    for place in np.ndindex(array.grid):
        try:
            array.read(place)
        except (ValueError, RuntimeError, OSError) as error:
            yield f"chunk {'/'.join(map(str, place))}: {in_words(error)}"


def damaged_tables(array: ChunkedArray) -> Iterator[Place]:
    """Shards whose table is not what its checksum says: they may leave out what was stored."""
    for place in np.ndindex(array.files) if array.shards else ():
        try:
            table_of(array, place)
        except (ChunkError, FileNotFoundError):
            yield place


def lost_files(array: ChunkedArray) -> Iterator[Place]:
    """Places of files that are not there."""
    if math.prod(array.files) > MOST_FILES:
        raise ChunkError(f"an array of {math.prod(array.files)} files")
    there = _names(array.folder)
    return (place for place in np.ndindex(array.files) if array.name(place) not in there)


def table_of(array: ChunkedArray, place: Place) -> npt.NDArray[np.uint64]:
    """(chunks, 2) of offset and length of those chunks of a shard that lie in the array.

    Raises `ChunkError` where the table is damaged.
    """
    assert array.shards is not None
    return _table(array.shards, array.folder / array.name(place))[_inside(array, place)]


def _left_out(array: ChunkedArray, lost: set[Place]) -> int:
    left_out = 0
    for place in np.ndindex(array.files):
        with suppress(ChunkError):  # who reads a box there is told
            left_out += 0 if place in lost else int((table_of(array, place)[:, 0] == LEFT_OUT).sum())
    return left_out


def _table(shards: Shards, file: Path) -> npt.NDArray[np.uint64]:
    """(chunks, 2) of offset and length of every chunk, row by row."""
    count, file_bytes = 16 * math.prod(shards.counts), file.stat().st_size
    with file.open("rb") as opened:
        opened.seek(max(0, shards.entry(0, file_bytes)))
        data, crc = opened.read(count), opened.read(4)
    if len(data) < count or (shards.checked and google_crc32c.value(data) != int.from_bytes(crc, "little")):
        raise ChunkError(f"a shard whose table is damaged ({file.name})")
    return np.frombuffer(data, "<u8").reshape(-1, 2)


def _inside(array: ChunkedArray, place: Place) -> npt.NDArray[np.bool_]:
    """Which chunks of a file lie in the array, row by row."""
    held = np.indices(array.per_file).reshape(len(place), -1).T
    return np.asarray((held + np.multiply(place, array.per_file) < array.grid).all(axis=1))


def _names(folder: Path) -> set[str]:
    """Of all files below a folder, from there."""
    return {Path(where, name).relative_to(folder).as_posix() for where, _, files in os.walk(folder) for name in files}
