"""A zarr array of uint8, version 2 or 3, as chunks in a folder: where they lie and how each is decoded.

A zarr array names its own codecs. The zarr library runs whatever codec it finds under a name, pickle among them, and
allocates as much memory as the file claims. Here only codecs of a short list are run, and a chunk decodes to its own
size or not at all.

The zarr library could replace only `ChunkedArray.read_chunk`: codecs, sizes and stored files must be checked here
before it sees the file. In its place zarr 3.1.6 read at 0.28 to 0.74 of this module's speed and took 1.9 to 3.5 times
its CPU time, least with v2 zstd and most with sharded v3 (`python -m tests.bench zarr_reading
data/cmu_small_region.svs --rounds 9`, 2 busy cores); importing it takes 1.5 s more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any, TypeAlias

import google_crc32c
import imagecodecs
import numpy as np
import numpy.typing as npt

from wsisr.bounds import MAX_ZARR_CHUNK_BYTES
from wsisr.errors import describe_error
from wsisr.imaging.pixels import WHITE
from wsisr.remote.ranges import open_ranges

ChunkDecoder: TypeAlias = Callable[[bytes], bytes]
ChunkIndex: TypeAlias = tuple[int, ...]
"""A chunk's number along each axis, in the array, or a file's."""

FileNaming: TypeAlias = Callable[[ChunkIndex], str]
"""Index of a chunk or a shard to the name, from the array's folder, of the file that holds it."""

_ALLOWED_DECODERS: dict[str, Callable[..., bytes | bytearray]] = {
    "blosc": imagecodecs.blosc_decode,
    "bz2": imagecodecs.bz2_decode,
    "gzip": imagecodecs.gzip_decode,
    "lz4": partial(imagecodecs.lz4_decode, header=True),
    "zlib": imagecodecs.zlib_decode,
    "zstd": imagecodecs.zstd_decode,
}
_FILE_NAMINGS = (("", "."), ("", "/"), ("c/", "/"), ("c.", "."))
"""Prefix and separator of the names of chunk files, first those of version 2, then those of version 3."""

MISSING_CHUNK = 2**64 - 1
"""Offset and length in a shard's index of a chunk that is not stored."""


class ZarrArrayError(ValueError):
    """An array is of a kind that is not supported; the message says what it holds."""


class DamagedChunkError(ValueError):
    """A chunk is stored and cannot be decoded; the message names it."""


@dataclass(frozen=True, slots=True)
class ChunkCodec:
    """Decodes the stored bytes of a chunk to its pixels."""

    chunk_shape: tuple[int, ...]
    decoders: tuple[ChunkDecoder, ...]
    axis_order: tuple[int, ...]
    """Axes of the array in the order in which they are stored, slowest first."""

    def decode(self, data: bytes) -> npt.NDArray[np.uint8]:
        """Decode a chunk, in the order of the array's axes. Raises `ValueError` where it is of another size."""
        pixels = np.frombuffer(reduce(lambda encoded, decoder: decoder(encoded), self.decoders, data), np.uint8)
        if pixels.size != math.prod(self.chunk_shape):
            raise ValueError(f"{pixels.size} bytes where {math.prod(self.chunk_shape)} are expected")
        stored_shape = [self.chunk_shape[axis] for axis in self.axis_order]
        return pixels.reshape(stored_shape).transpose(np.argsort(self.axis_order))


@dataclass(frozen=True, slots=True)
class ShardLayout:
    """How a shard, one file, holds several chunks: an index lists offset and length of each."""

    chunks_per_shard: tuple[int, ...]
    """Chunks of a shard along each axis."""
    index_first: bool
    """Whether the index is at the start of the file, not at its end."""
    has_checksum: bool
    """Whether a CRC-32C of four bytes follows the index."""

    def locate(self, index: ChunkIndex) -> tuple[ChunkIndex, int]:
        """Return the shard that holds a chunk, and the chunk's position in the shard's index."""
        pairs = [divmod(number, count) for number, count in zip(index, self.chunks_per_shard, strict=True)]
        position = np.ravel_multi_index([inner for _, inner in pairs], self.chunks_per_shard)
        return tuple(shard for shard, _ in pairs), int(position)

    def entry_offset(self, position: int, file_bytes: int) -> int:
        """Return where in a shard of `file_bytes` the index entry of a chunk begins."""
        index_bytes = 16 * math.prod(self.chunks_per_shard) + 4 * self.has_checksum
        return (0 if self.index_first else file_bytes - index_bytes) + 16 * position


@dataclass(frozen=True, slots=True)
class ChunkedArray:
    """An array of uint8 in a folder."""

    folder: Path
    shape: tuple[int, ...]
    codec: ChunkCodec
    fill_value: int | None
    """Value of chunks that are not stored. None, which is shown white, where the file names none, or 0: neither glass
    nor tissue is black."""
    file_name_of: FileNaming
    shard_layout: ShardLayout | None

    @property
    def chunks_per_file(self) -> tuple[int, ...]:
        """Chunks that a file holds along each axis."""
        return self.shard_layout.chunks_per_shard if self.shard_layout else (1,) * len(self.shape)

    @property
    def chunk_grid(self) -> ChunkIndex:
        """Chunks along each axis."""
        return tuple(-(-whole // part) for whole, part in zip(self.shape, self.codec.chunk_shape, strict=True))

    @property
    def file_grid(self) -> ChunkIndex:
        """Files along each axis."""
        return tuple(-(-chunks // count) for chunks, count in zip(self.chunk_grid, self.chunks_per_file, strict=True))

    def read_chunk(self, index: ChunkIndex) -> npt.NDArray[np.uint8]:
        """Read one chunk. Raises `DamagedChunkError`, or `OSError` where the disk fails."""
        try:
            data = self._read_stored(index)
            if data is None:
                return np.full(self.codec.chunk_shape, self.fill_value or WHITE, np.uint8)
            return self.codec.decode(data)
        except (ValueError, RuntimeError) as error:  # imagecodecs derives its errors from RuntimeError
            raise DamagedChunkError(f"chunk {'/'.join(map(str, index))}: {describe_error(error)}") from error

    def _read_stored(self, index: ChunkIndex) -> bytes | None:
        """Read the stored bytes of a chunk; None where it is not stored."""
        file_index, position = self.shard_layout.locate(index) if self.shard_layout else (index, 0)
        file = self.folder / self.file_name_of(file_index)
        if not file.is_file():
            return None
        with closing(open_ranges(file)) as ranges:
            offset, count = 0, ranges.file_bytes
            if self.shard_layout:
                entry = ranges.read_header(max(0, self.shard_layout.entry_offset(position, ranges.file_bytes)), 16)
                offset, count = np.frombuffer(entry, "<u8").tolist() or (0, 0)
            if offset == count == MISSING_CHUNK:
                return None
            if offset + count > ranges.file_bytes or count > 2 * MAX_ZARR_CHUNK_BYTES:
                raise ValueError(f"{count} stored bytes in a file of {ranges.file_bytes}")
            return ranges.read_range(offset, count)


def list_file_namings() -> tuple[FileNaming, ...]:
    """Return the four namings of files in zarr: `0.0.0`, `0/0/0`, `c/0/0/0` and `c.0.0.0`."""
    return tuple(_make_file_naming(prefix, separator) for prefix, separator in _FILE_NAMINGS)


def parse_array(folder: Path, metadata: Mapping[str, Any]) -> ChunkedArray:
    """Parse an array's metadata: the content of `.zarray` in version 2, of `zarr.json` in version 3.

    Raises `ZarrArrayError` where it holds no 8-bit pixels, names other codecs, or has chunks too large for memory.
    Malformed metadata raises whatever Python raises for it, such as `KeyError` or `TypeError`.
    """
    array = (_parse_v2 if metadata["zarr_format"] == 2 else _parse_v3)(folder, metadata)
    chunk_shape, axis_order = array.codec.chunk_shape, array.codec.axis_order
    is_consistent = len(chunk_shape) == len(array.shape) and sorted(axis_order) == list(range(len(array.shape)))
    if not is_consistent or min(array.shape + chunk_shape) < 1:
        raise ZarrArrayError(f"an array of shape {array.shape} in chunks of {chunk_shape}")
    return array


def _parse_v2(folder: Path, metadata: Mapping[str, Any]) -> ChunkedArray:
    _require(metadata["dtype"] == "|u1", f"pixels of type {metadata['dtype']}")
    _require(not metadata.get("filters"), "filters")
    shape, chunk_shape = _parse_sizes(metadata["shape"]), _parse_chunk_shape(metadata["chunks"])
    compressor = metadata.get("compressor")
    axes = tuple(range(len(shape)))
    codec = ChunkCodec(
        chunk_shape,
        decoders=(_make_bounded_decoder(compressor["id"], math.prod(chunk_shape)),) if compressor else (),
        axis_order=axes[::-1] if metadata["order"] == "F" else axes,
    )
    fill_value = _parse_fill_value(metadata["fill_value"])
    file_name_of = _make_file_naming("", metadata.get("dimension_separator") or ".")
    return ChunkedArray(folder, shape, codec, fill_value, file_name_of, shard_layout=None)


def _parse_v3(folder: Path, metadata: Mapping[str, Any]) -> ChunkedArray:
    _require(metadata["data_type"] == "uint8", f"pixels of type {metadata['data_type']}")
    _require(not metadata.get("storage_transformers"), "storage transformers")
    chunk_shape = _parse_sizes(metadata["chunk_grid"]["configuration"]["chunk_shape"])
    codecs, shard_layout = metadata["codecs"], None
    if codecs[0]["name"] == "sharding_indexed":
        _require(len(codecs) == 1, "shards that are compressed as a whole")
        sharding = codecs[0]["configuration"]
        shard_layout = _parse_sharding(chunk_shape, sharding)
        chunk_shape, codecs = _parse_sizes(sharding["chunk_shape"]), sharding["codecs"]
    encoding = metadata["chunk_key_encoding"]
    prefix, separator = ("c/", "/") if encoding["name"] == "default" else ("", ".")
    separator = encoding.get("configuration", {}).get("separator", separator)
    return ChunkedArray(
        folder,
        _parse_sizes(metadata["shape"]),
        _parse_codecs(_parse_chunk_shape(chunk_shape), codecs),
        _parse_fill_value(metadata["fill_value"]),
        _make_file_naming(prefix and f"c{separator}", separator),
        shard_layout,
    )


def _parse_sharding(shard_shape: tuple[int, ...], sharding: Mapping[str, Any]) -> ShardLayout:
    chunk_shape = _parse_sizes(sharding["chunk_shape"])
    is_possible = len(chunk_shape) == len(shard_shape) and min(chunk_shape) > 0
    _require(is_possible, f"shards of {shard_shape} with chunks of {chunk_shape}")
    pairs = [divmod(shard, chunk) for shard, chunk in zip(shard_shape, chunk_shape, strict=True)]
    _require(not any(rest for _, rest in pairs), f"chunks of {chunk_shape} across shards")
    index_codecs = [codec["name"] for codec in sharding["index_codecs"]]
    is_plain = index_codecs in (["bytes"], ["bytes", "crc32c"])
    _require(is_plain, f"a shard index coded by {', '.join(index_codecs)}")
    return ShardLayout(
        chunks_per_shard=tuple(count for count, _ in pairs),
        index_first=sharding.get("index_location", "end") == "start",
        has_checksum=len(index_codecs) == 2,
    )


def _parse_codecs(chunk_shape: tuple[int, ...], codecs: Sequence[Mapping[str, Any]]) -> ChunkCodec:
    decoders: list[ChunkDecoder] = []
    axis_order = tuple(range(len(chunk_shape)))
    for codec in codecs:
        name, options = codec["name"], codec.get("configuration", {})
        if name == "transpose":
            axis_order = tuple(axis_order[axis] for axis in _parse_sizes(options["order"]))
        elif name == "crc32c":
            decoders.append(_check_crc32c)
        elif name != "bytes":
            decoders.append(_make_bounded_decoder(name, math.prod(chunk_shape)))
    # Codecs are listed in the order of encoding.
    return ChunkCodec(chunk_shape, tuple(reversed(decoders)), axis_order)


def _make_bounded_decoder(name: str, decoded_bytes: int) -> ChunkDecoder:
    _require(name in _ALLOWED_DECODERS, f"codec {name}")
    # 64 bytes to spare: a chunk may be checksummed before it is compressed.
    return lambda data: bytes(_ALLOWED_DECODERS[name](data, out=decoded_bytes + 64))


def _check_crc32c(data: bytes) -> bytes:
    """Return the data without the CRC-32C at its end. Raises `ValueError` where the CRC is another one."""
    if google_crc32c.value(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise ValueError("its checksum is wrong")
    return data[:-4]


def _make_file_naming(prefix: str, separator: str) -> FileNaming:
    _require(separator in (".", "/"), "an unknown naming of chunks")
    return lambda index: prefix + separator.join(map(str, index))


def _parse_sizes(numbers: Sequence[Any]) -> tuple[int, ...]:
    _require(all(type(number) is int and 0 <= number < 2**31 for number in numbers), f"sizes {numbers}")
    return tuple(numbers)


def _parse_chunk_shape(numbers: Sequence[Any]) -> tuple[int, ...]:
    """Return the shape of a chunk that is small enough to be decoded."""
    chunk_shape = _parse_sizes(numbers)
    is_bounded = 0 < math.prod(chunk_shape) <= MAX_ZARR_CHUNK_BYTES
    _require(is_bounded, f"chunks of {' x '.join(map(str, chunk_shape))}")
    return chunk_shape


def _parse_fill_value(value: Any) -> int | None:
    """Return the value of missing chunks; None, for white, where none is named, or 0."""
    if value is None:
        return None
    _require(type(value) is int and 0 <= value <= 255, f"fill value {value}")
    return int(value) or None


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise ZarrArrayError(describe_error(ValueError(problem)))  # it may repeat a text of any length
