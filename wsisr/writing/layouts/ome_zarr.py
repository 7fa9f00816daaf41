"""The OME-Zarr layout: OME-NGFF 0.5 in zarr 3, axes c, y, x; a stored tile is a chunk, and chunks lie in shards.

Every shard is there, and each is written once from its first byte to its last. An all-white chunk is left out and the
shard's table says so, under a checksum: a chunk that was lost cannot pass for white.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from wsisr.errors import SlideError
from wsisr.files import sync_folder
from wsisr.imaging.pixels import WHITE
from wsisr.writing.encoding.codec import ZSTD_LEVEL
from wsisr.writing.encoding.grid import LevelGrid
from wsisr.writing.spec import PyramidSpec
from wsisr.writing.workdir.tile_store import TileStore

CHUNK_METHOD = "planar-zstd"
"""How chunks are coded."""

METADATA_FILE = "zarr.json"
"""The file that makes a folder a zarr."""

PROFILE_ARRAY = "icc"
"""The array that holds the ICC profile, for which OME-NGFF has no place."""

OWN_ATTRIBUTE = "wsisr"
"""The attribute under which the rest stands that OME-NGFF has no place for."""

SHARD_TILES = 16
"""Tiles along one side of a shard: 4096 px of 256. A slide is then hundreds of files, not hundreds of thousands."""

_EMPTY_CHUNK = 2**64 - 1
_MAX_METADATA_BYTES = 16 * 2**20
_CHANNELS = {"Red": "FF0000", "Green": "00FF00", "Blue": "0000FF"}


def write_ome_zarr(folder: Path, levels: Sequence[TileStore], spec: PyramidSpec) -> Iterator[int]:
    """Write the whole folder; yields how many tiles were copied, after each shard. One tile in memory at a time.

    Raises `OSError` where the disk refuses.
    """
    folder.mkdir()
    copied = 0
    for number, level in enumerate(levels):
        place = folder / str(number)
        _write_file(place / METADATA_FILE, _serialise(_build_image_array(level.grid)))
        for row, column in product(*(range(-(-side // SHARD_TILES)) for side in (level.grid.rows, level.grid.columns))):
            tiles = _list_shard_tiles(level.grid, row, column)
            _write_file(place / "c" / "0" / str(row) / str(column), _iterate_shard_bytes(level, tiles))
            copied += sum(tile is not None for tile in tiles)
            yield copied
    if spec.icc:
        _write_file(folder / PROFILE_ARRAY / METADATA_FILE, _serialise(_build_bytes_array(len(spec.icc))))
        _write_file(folder / PROFILE_ARRAY / "c" / "0", [spec.icc])
    _write_file(folder / METADATA_FILE, _serialise(_build_group(spec, len(levels))))
    for each in [*folder.rglob("*/"), folder]:
        sync_folder(each)


def read_ome_zarr_metadata(folder: Path) -> dict[str, str]:
    """The note in an OME-Zarr; empty where there is none. Raises `SlideError` where the folder is no zarr 3."""
    try:
        with (folder / METADATA_FILE).open("rb") as file:
            own = dict(json.loads(file.read(_MAX_METADATA_BYTES))).get("attributes", {}).get(OWN_ATTRIBUTE, {})
        return {str(name): str(words) for name, words in own.get("note", {}).items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise SlideError(f"{folder}: cannot be read as a zarr of version 3; give a file that wsisr wrote") from error


def _list_shard_tiles(grid: LevelGrid, row: int, column: int) -> list[int | None]:
    """By their place in the shard, row by row; None where the shard reaches over the level's border."""
    down, across = _shard_shape(grid)
    places = product(range(row * down, (row + 1) * down), range(column * across, (column + 1) * across))
    return [y * grid.columns + x if y < grid.rows and x < grid.columns else None for y, x in places]


def _shard_shape(grid: LevelGrid) -> tuple[int, int]:
    """Rows and columns of tiles in a shard; a small level is one that is no larger."""
    return min(SHARD_TILES, grid.rows), min(SHARD_TILES, grid.columns)


def _iterate_shard_bytes(level: TileStore, tiles: Sequence[int | None]) -> Iterator[bytes]:
    """Chunks, then the table of their places, then its checksum."""
    white, end = level.codec.white_tile(level.grid.tile_px), 0
    table = np.full((len(tiles), 2), _EMPTY_CHUNK, "<u8")
    for number, tile in enumerate(tiles):
        chunk = white if tile is None else level.read_encoded(tile)
        if chunk != white:
            table[number] = end, len(chunk)
            end += len(chunk)
            yield chunk
    yield table.tobytes()
    yield google_crc32c.value(table.tobytes()).to_bytes(4, "little")


def _build_image_array(grid: LevelGrid) -> dict[str, Any]:
    down, across = (tiles * grid.tile_px for tiles in _shard_shape(grid))
    chunk = [{"name": "bytes"}, {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}}]
    sharding = {
        "chunk_shape": [3, grid.tile_px, grid.tile_px],
        "codecs": [*chunk, {"name": "crc32c"}],
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "index_location": "end",
    }
    shape, shard = [3, grid.size.height, grid.size.width], [3, down, across]
    sharded = [{"name": "sharding_indexed", "configuration": sharding}]
    return _build_array(shape, shard, sharded, WHITE) | {"dimension_names": ["c", "y", "x"]}


def _build_bytes_array(length: int) -> dict[str, Any]:
    return _build_array([length], [length], [{"name": "bytes"}], 0)


def _build_array(shape: list[int], chunk: list[int], codecs: list[dict[str, Any]], fill: int) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill,
        "codecs": codecs,
        "attributes": {},
    }


def _build_group(spec: PyramidSpec, levels: int) -> dict[str, Any]:
    """The root: what OME-NGFF says of an image, and what wsisr does."""
    unit = {} if spec.mpp is None else {"unit": "micrometer"}
    axes = [{"name": "c", "type": "channel"}, *({"name": name, "type": "space"} | unit for name in "yx")]
    datasets = [
        {"path": str(number), "coordinateTransformations": _build_transformations(spec, number)}
        for number in range(levels)
    ]
    multiscale = {
        "name": spec.title or "image",
        "axes": axes,
        "datasets": datasets,
        "type": "mean",
        "metadata": {"description": "each level is the 2x2 area mean of the level above, rounded half up"},
    }
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    channels = [
        {"label": name, "color": colour, "active": True, "window": window} for name, colour in _CHANNELS.items()
    ]
    ome = {
        "version": "0.5",
        "multiscales": [multiscale],
        "omero": {"channels": channels, "rdefs": {"model": "color"}},
    }
    own: dict[str, Any] = {"software": spec.software, "note": dict(spec.metadata)}
    if spec.magnification is not None:
        own["magnification"] = spec.magnification
    return {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome, OWN_ATTRIBUTE: own}}


def _build_transformations(spec: PyramidSpec, level: int) -> list[dict[str, Any]]:
    """Scale and translation, in um. Places are of pixel centres: the first of a coarser level lies further in."""
    mpp = spec.mpp or 1.0
    x, y = (offset + (2**level - 1) / 2 * mpp for offset in spec.origin_um)
    scale = {"type": "scale", "scale": [1.0, mpp * 2**level, mpp * 2**level]}
    return [scale, {"type": "translation", "translation": [0.0, y, x]}]


def _serialise(metadata: Mapping[str, Any]) -> list[bytes]:
    return [json.dumps(metadata, indent=2).encode()]


def _write_file(file: Path, pieces: Iterator[bytes] | list[bytes]) -> None:
    """On the disk to the last byte."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("xb") as opened:
        opened.writelines(pieces)
        opened.flush()
        os.fsync(opened.fileno())
