"""One zarr array of bytes, version 2 or 3, as chunks in a folder: where they lie and how each decodes.

A zarr names its own codecs, and the zarr library runs what it finds under the name, pickle among them, into as much
memory as the file asks for. Here codecs are those of a short list, and a chunk decodes to its own size or not at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any, TypeAlias

import google_crc32c
import imagecodecs
import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import WHITE

LARGEST_CHUNK = 64 * 2**20
"""Bytes that one chunk may decode to: more than any slide has, less than a small machine has."""

Step: TypeAlias = Callable[[bytes], bytes]
Place: TypeAlias = tuple[int, ...]
"""A chunk by its number along each axis."""

_DECODERS: dict[str, Callable[..., bytes | bytearray]] = {
    "blosc": imagecodecs.blosc_decode,
    "bz2": imagecodecs.bz2_decode,
    "gzip": imagecodecs.gzip_decode,
    "lz4": partial(imagecodecs.lz4_decode, header=True),
    "zlib": imagecodecs.zlib_decode,
    "zstd": imagecodecs.zstd_decode,
}
LEFT_OUT = 2**64 - 1
"""Offset and length of a chunk that a shard leaves out."""


class ChunkError(ValueError):
    """What makes an array, or a chunk of it, unreadable here, in words."""


@dataclass(frozen=True, slots=True)
class Coding:
    """From stored bytes to the pixels of a chunk."""

    chunk: tuple[int, ...]
    steps: tuple[Step, ...]
    order: tuple[int, ...]
    """Axes of the array in the order in which they are stored, slowest first."""

    def decode(self, data: bytes) -> npt.NDArray[np.uint8]:
        pixels = np.frombuffer(reduce(lambda stored, step: step(stored), self.steps, data), np.uint8)
        if pixels.size != math.prod(self.chunk):
            raise ChunkError(f"a chunk of {pixels.size} bytes where {math.prod(self.chunk)} are expected")
        return pixels.reshape([self.chunk[axis] for axis in self.order]).transpose(np.argsort(self.order))


@dataclass(frozen=True, slots=True)
class Shards:
    """Several chunks in one file, with a table of where each lies."""

    counts: tuple[int, ...]
    """Chunks of a shard along each axis."""
    table_first: bool
    checked: bool
    """Whether four bytes of CRC follow the table."""

    def place(self, chunk: Place) -> tuple[Place, int]:
        """The shard of a chunk, and the chunk's number in it."""
        pairs = [divmod(number, count) for number, count in zip(chunk, self.counts, strict=True)]
        return tuple(whole for whole, _ in pairs), int(np.ravel_multi_index([rest for _, rest in pairs], self.counts))

    def entry(self, number: int, file_bytes: int) -> int:
        """Where in a file of that length the table tells of a chunk."""
        table = 16 * math.prod(self.counts) + 4 * self.checked
        return (0 if self.table_first else file_bytes - table) + 16 * number


@dataclass(frozen=True, slots=True)
class ChunkedArray:
    """An array of uint8 on disk."""

    folder: Path
    shape: tuple[int, ...]
    coding: Coding
    fill: int | None
    """Value of chunks that are not stored; None, which is shown white, where the file names none, or black, which
    neither glass nor tissue is."""
    name: Callable[[Place], str]
    """Of the file that holds a chunk, or a shard."""
    shards: Shards | None

    @property
    def per_file(self) -> tuple[int, ...]:
        """Chunks that a file holds along each axis."""
        return self.shards.counts if self.shards else (1,) * len(self.shape)

    @property
    def grid(self) -> Place:
        """Chunks along each axis."""
        return tuple(-(-whole // part) for whole, part in zip(self.shape, self.coding.chunk, strict=True))

    @property
    def files(self) -> Place:
        """Files along each axis."""
        return tuple(-(-chunks // held) for chunks, held in zip(self.grid, self.per_file, strict=True))

    def read(self, place: Place) -> npt.NDArray[np.uint8]:
        """One chunk. Raises `ChunkError`, `OSError`, or `RuntimeError` (codecs) where it is damaged."""
        data = self._stored(place)
        return np.full(self.coding.chunk, self.fill or WHITE, np.uint8) if data is None else self.coding.decode(data)

    def _stored(self, place: Place) -> bytes | None:
        whole, number = self.shards.place(place) if self.shards else (place, 0)
        file = self.folder / self.name(whole)
        if not file.is_file():
            return None
        file_bytes = file.stat().st_size
        with file.open("rb") as opened:
            offset, count = 0, file_bytes
            if self.shards:
                opened.seek(max(0, self.shards.entry(number, file_bytes)))
                offset, count = np.frombuffer(opened.read(16), "<u8").tolist() or (0, 0)
            if offset == count == LEFT_OUT:
                return None
            if offset + count > file_bytes or count > 2 * LARGEST_CHUNK:
                raise ChunkError(f"a chunk of {count} bytes in a file of {file_bytes}")
            opened.seek(offset)
            return opened.read(count)


def array_of(folder: Path, metadata: Mapping[str, Any]) -> ChunkedArray:
    """An array by its metadata: of `.zarray` in version 2, of `zarr.json` in version 3.

    Raises `ChunkError` where it holds no 8-bit pixels, names other codecs, or has chunks too large for memory; what
    Python raises of its own where the metadata is no metadata.
    """
    array = (_version_2 if metadata["zarr_format"] == 2 else _version_3)(folder, metadata)
    dimensions = {len(array.shape), len(array.coding.chunk), len(array.coding.order)}
    if (
        len(dimensions) != 1
        or min(array.shape + array.coding.chunk) < 1
        or sorted(array.coding.order) != list(range(len(array.shape)))
    ):
        raise ChunkError(f"an array of shape {array.shape} in chunks of {array.coding.chunk}")
    return array


def _version_2(folder: Path, metadata: Mapping[str, Any]) -> ChunkedArray:
    _must(metadata["dtype"] == "|u1", f"pixels of type {metadata['dtype']}")
    _must(not metadata.get("filters"), "filters")
    shape, chunk = _sizes(metadata["shape"]), _chunk(metadata["chunks"])
    compressor = metadata.get("compressor")
    axes = tuple(range(len(shape)))
    return ChunkedArray(
        folder,
        shape,
        Coding(
            chunk,
            (_decompression(compressor["id"], math.prod(chunk)),) if compressor else (),
            axes[::-1] if metadata["order"] == "F" else axes,
        ),
        _fill(metadata["fill_value"]),
        _naming("", metadata.get("dimension_separator", ".")),
        None,
    )


def _version_3(folder: Path, metadata: Mapping[str, Any]) -> ChunkedArray:
    _must(metadata["data_type"] == "uint8", f"pixels of type {metadata['data_type']}")
    _must(not metadata.get("storage_transformers"), "storage transformers")
    stored, codecs, shards = _sizes(metadata["chunk_grid"]["configuration"]["chunk_shape"]), metadata["codecs"], None
    if codecs[0]["name"] == "sharding_indexed":
        _must(len(codecs) == 1, "shards that are coded once more")
        inner = codecs[0]["configuration"]
        shards = _shards(stored, inner)
        stored, codecs = _sizes(inner["chunk_shape"]), inner["codecs"]
    keys = metadata["chunk_key_encoding"]
    prefix, separator = ("c/", "/") if keys["name"] == "default" else ("", ".")
    separator = keys.get("configuration", {}).get("separator", separator)
    return ChunkedArray(
        folder,
        _sizes(metadata["shape"]),
        _coding(_chunk(stored), codecs),
        _fill(metadata["fill_value"]),
        _naming(prefix and f"c{separator}", separator),
        shards,
    )


def _shards(shard: tuple[int, ...], inner: Mapping[str, Any]) -> Shards:
    chunk = _sizes(inner["chunk_shape"])
    _must(len(chunk) == len(shard) and min(chunk) > 0, f"shards of {shard} with chunks of {chunk}")
    _must(not any(whole % part for whole, part in zip(shard, chunk, strict=True)), f"chunks of {chunk} across shards")
    names = [codec["name"] for codec in inner["index_codecs"]]
    _must(names in (["bytes"], ["bytes", "crc32c"]), f"a shard table coded by {', '.join(names)}")
    counts = tuple(whole // part for whole, part in zip(shard, chunk, strict=True))
    return Shards(counts, inner.get("index_location", "end") == "start", len(names) == 2)


def _coding(chunk: tuple[int, ...], codecs: Sequence[Mapping[str, Any]]) -> Coding:
    steps: list[Step] = []
    order = tuple(range(len(chunk)))
    for codec in codecs:
        name, options = codec["name"], codec.get("configuration", {})
        if name == "transpose":
            order = tuple(order[axis] for axis in _sizes(options["order"]))
        elif name == "crc32c":
            steps.append(_checked)
        elif name != "bytes":
            steps.append(_decompression(name, math.prod(chunk)))
    return Coding(chunk, tuple(reversed(steps)), order)


def _decompression(name: str, count: int) -> Step:
    _must(name in _DECODERS, f"codec {name}")
    # Some bytes to spare: a chunk may be checksummed before it is compressed.
    return lambda data: bytes(_DECODERS[name](data, out=count + 64))


def _checked(data: bytes) -> bytes:
    if google_crc32c.value(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise ChunkError("a chunk whose checksum is wrong")
    return data[:-4]


def _naming(prefix: str, separator: str) -> Callable[[Place], str]:
    _must(separator in (".", "/"), "an unknown naming of chunks")
    return lambda place: prefix + separator.join(map(str, place))


def _sizes(numbers: Sequence[Any]) -> tuple[int, ...]:
    _must(all(type(number) is int and 0 <= number < 2**31 for number in numbers), f"sizes {numbers}")
    return tuple(numbers)


def _chunk(numbers: Sequence[Any]) -> tuple[int, ...]:
    chunk = _sizes(numbers)
    _must(0 < math.prod(chunk) <= LARGEST_CHUNK, f"chunks of {' x '.join(map(str, chunk))}")
    return chunk


def _fill(value: Any) -> int | None:
    if value is None:
        return None
    _must(type(value) is int and 0 <= value <= 255, f"fill value {value}")
    return int(value) or None


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ChunkError(otherwise)
