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

MAX_CHUNK_BYTES = 64 * 2**20
"""Bytes that one chunk may decode to: more than any slide has, less than a small machine has."""

ChunkDecoder: TypeAlias = Callable[[bytes], bytes]
ChunkIndex: TypeAlias = tuple[int, ...]
"""A chunk by its number along each axis."""

_DECODERS: dict[str, Callable[..., bytes | bytearray]] = {
    "blosc": imagecodecs.blosc_decode,
    "bz2": imagecodecs.bz2_decode,
    "gzip": imagecodecs.gzip_decode,
    "lz4": partial(imagecodecs.lz4_decode, header=True),
    "zlib": imagecodecs.zlib_decode,
    "zstd": imagecodecs.zstd_decode,
}
NOT_STORED = 2**64 - 1
"""Offset and length of a chunk that a shard leaves out."""


class UnsupportedZarrError(ValueError):
    """What makes an array, or a chunk of it, unreadable here, in words."""


@dataclass(frozen=True, slots=True)
class ChunkCodec:
    """From stored bytes to the pixels of a chunk."""

    chunk_shape: tuple[int, ...]
    decoders: tuple[ChunkDecoder, ...]
    axis_order: tuple[int, ...]
    """Axes of the array in the order in which they are stored, slowest first."""

    def decode(self, data: bytes) -> npt.NDArray[np.uint8]:
        pixels = np.frombuffer(reduce(lambda stored, step: step(stored), self.decoders, data), np.uint8)
        if pixels.size != math.prod(self.chunk_shape):
            raise UnsupportedZarrError(
                f"a chunk of {pixels.size} bytes where {math.prod(self.chunk_shape)} are expected"
            )
        return pixels.reshape([self.chunk_shape[axis] for axis in self.axis_order]).transpose(
            np.argsort(self.axis_order)
        )


@dataclass(frozen=True, slots=True)
class ShardLayout:
    """Several chunks in one file, with a table of where each lies."""

    chunks_per_shard: tuple[int, ...]
    """Chunks of a shard along each axis."""
    index_first: bool
    has_checksum: bool
    """Whether four bytes of CRC follow the table."""

    def locate(self, index: ChunkIndex) -> tuple[ChunkIndex, int]:
        """The shard of a chunk, and the chunk's number in it."""
        pairs = [divmod(number, count) for number, count in zip(index, self.chunks_per_shard, strict=True)]
        return tuple(whole for whole, _ in pairs), int(
            np.ravel_multi_index([rest for _, rest in pairs], self.chunks_per_shard)
        )

    def entry_offset(self, position: int, file_bytes: int) -> int:
        """Where in a file of that length the table tells of a chunk."""
        table = 16 * math.prod(self.chunks_per_shard) + 4 * self.has_checksum
        return (0 if self.index_first else file_bytes - table) + 16 * position


@dataclass(frozen=True, slots=True)
class ChunkedArray:
    """An array of uint8 on disk."""

    folder: Path
    shape: tuple[int, ...]
    codec: ChunkCodec
    fill_value: int | None
    """Value of chunks that are not stored; None, which is shown white, where the file names none, or black, which
    neither glass nor tissue is."""
    file_name: Callable[[ChunkIndex], str]
    """Of the file that holds a chunk, or a shard."""
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
        return tuple(-(-chunks // held) for chunks, held in zip(self.chunk_grid, self.chunks_per_file, strict=True))

    def read_chunk(self, index: ChunkIndex) -> npt.NDArray[np.uint8]:
        """One chunk. Raises `ChunkError`, `OSError`, or `RuntimeError` (codecs) where it is damaged."""
        data = self._read_stored(index)
        return (
            np.full(self.codec.chunk_shape, self.fill_value or WHITE, np.uint8)
            if data is None
            else self.codec.decode(data)
        )

    def _read_stored(self, place: ChunkIndex) -> bytes | None:
        whole, number = self.shard_layout.locate(place) if self.shard_layout else (place, 0)
        file = self.folder / self.file_name(whole)
        if not file.is_file():
            return None
        file_bytes = file.stat().st_size
        with file.open("rb") as opened:
            offset, count = 0, file_bytes
            if self.shard_layout:
                opened.seek(max(0, self.shard_layout.entry_offset(number, file_bytes)))
                offset, count = np.frombuffer(opened.read(16), "<u8").tolist() or (0, 0)
            if offset == count == NOT_STORED:
                return None
            if offset + count > file_bytes or count > 2 * MAX_CHUNK_BYTES:
                raise UnsupportedZarrError(f"a chunk of {count} bytes in a file of {file_bytes}")
            opened.seek(offset)
            return opened.read(count)


def parse_array(folder: Path, metadata: Mapping[str, Any]) -> ChunkedArray:
    """An array by its metadata: of `.zarray` in version 2, of `zarr.json` in version 3.

    Raises `ChunkError` where it holds no 8-bit pixels, names other codecs, or has chunks too large for memory; what
    Python raises of its own where the metadata is no metadata.
    """
    array = (_parse_v2 if metadata["zarr_format"] == 2 else _parse_v3)(folder, metadata)
    dimensions = {len(array.shape), len(array.codec.chunk_shape), len(array.codec.axis_order)}
    if (
        len(dimensions) != 1
        or min(array.shape + array.codec.chunk_shape) < 1
        or sorted(array.codec.axis_order) != list(range(len(array.shape)))
    ):
        raise UnsupportedZarrError(f"an array of shape {array.shape} in chunks of {array.codec.chunk_shape}")
    return array


def _parse_v2(folder: Path, metadata: Mapping[str, Any]) -> ChunkedArray:
    _require(metadata["dtype"] == "|u1", f"pixels of type {metadata['dtype']}")
    _require(not metadata.get("filters"), "filters")
    shape, chunk = _parse_shape(metadata["shape"]), _parse_chunk_shape(metadata["chunks"])
    compressor = metadata.get("compressor")
    axes = tuple(range(len(shape)))
    return ChunkedArray(
        folder,
        shape,
        ChunkCodec(
            chunk,
            (_bounded_decoder(compressor["id"], math.prod(chunk)),) if compressor else (),
            axes[::-1] if metadata["order"] == "F" else axes,
        ),
        _parse_fill_value(metadata["fill_value"]),
        _file_naming("", metadata.get("dimension_separator", ".")),
        None,
    )


def _parse_v3(folder: Path, metadata: Mapping[str, Any]) -> ChunkedArray:
    _require(metadata["data_type"] == "uint8", f"pixels of type {metadata['data_type']}")
    _require(not metadata.get("storage_transformers"), "storage transformers")
    stored, codecs, shards = (
        _parse_shape(metadata["chunk_grid"]["configuration"]["chunk_shape"]),
        metadata["codecs"],
        None,
    )
    if codecs[0]["name"] == "sharding_indexed":
        _require(len(codecs) == 1, "shards that are coded once more")
        inner = codecs[0]["configuration"]
        shards = _parse_sharding(stored, inner)
        stored, codecs = _parse_shape(inner["chunk_shape"]), inner["codecs"]
    keys = metadata["chunk_key_encoding"]
    prefix, separator = ("c/", "/") if keys["name"] == "default" else ("", ".")
    separator = keys.get("configuration", {}).get("separator", separator)
    return ChunkedArray(
        folder,
        _parse_shape(metadata["shape"]),
        _parse_codecs(_parse_chunk_shape(stored), codecs),
        _parse_fill_value(metadata["fill_value"]),
        _file_naming(prefix and f"c{separator}", separator),
        shards,
    )


def _parse_sharding(shard: tuple[int, ...], inner: Mapping[str, Any]) -> ShardLayout:
    chunk = _parse_shape(inner["chunk_shape"])
    _require(len(chunk) == len(shard) and min(chunk) > 0, f"shards of {shard} with chunks of {chunk}")
    _require(
        not any(whole % part for whole, part in zip(shard, chunk, strict=True)), f"chunks of {chunk} across shards"
    )
    names = [codec["name"] for codec in inner["index_codecs"]]
    _require(names in (["bytes"], ["bytes", "crc32c"]), f"a shard table coded by {', '.join(names)}")
    counts = tuple(whole // part for whole, part in zip(shard, chunk, strict=True))
    return ShardLayout(counts, inner.get("index_location", "end") == "start", len(names) == 2)


def _parse_codecs(chunk: tuple[int, ...], codecs: Sequence[Mapping[str, Any]]) -> ChunkCodec:
    steps: list[ChunkDecoder] = []
    order = tuple(range(len(chunk)))
    for codec in codecs:
        name, options = codec["name"], codec.get("configuration", {})
        if name == "transpose":
            order = tuple(order[axis] for axis in _parse_shape(options["order"]))
        elif name == "crc32c":
            steps.append(_strip_checksum)
        elif name != "bytes":
            steps.append(_bounded_decoder(name, math.prod(chunk)))
    return ChunkCodec(chunk, tuple(reversed(steps)), order)


def _bounded_decoder(name: str, count: int) -> ChunkDecoder:
    _require(name in _DECODERS, f"codec {name}")
    # Some bytes to spare: a chunk may be checksummed before it is compressed.
    return lambda data: bytes(_DECODERS[name](data, out=count + 64))


def _strip_checksum(data: bytes) -> bytes:
    if google_crc32c.value(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise UnsupportedZarrError("a chunk whose checksum is wrong")
    return data[:-4]


def _file_naming(prefix: str, separator: str) -> Callable[[ChunkIndex], str]:
    _require(separator in (".", "/"), "an unknown naming of chunks")
    return lambda place: prefix + separator.join(map(str, place))


def _parse_shape(numbers: Sequence[Any]) -> tuple[int, ...]:
    _require(all(type(number) is int and 0 <= number < 2**31 for number in numbers), f"sizes {numbers}")
    return tuple(numbers)


def _parse_chunk_shape(numbers: Sequence[Any]) -> tuple[int, ...]:
    chunk = _parse_shape(numbers)
    _require(0 < math.prod(chunk) <= MAX_CHUNK_BYTES, f"chunks of {' x '.join(map(str, chunk))}")
    return chunk


def _parse_fill_value(value: Any) -> int | None:
    if value is None:
        return None
    _require(type(value) is int and 0 <= value <= 255, f"fill value {value}")
    return int(value) or None


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise UnsupportedZarrError(problem)
