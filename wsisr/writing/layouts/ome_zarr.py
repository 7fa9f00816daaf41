"""The OME-Zarr layout: OME-NGFF 0.5 in Zarr 3, axes c, y, x; a stored tile is a chunk, and chunks lie in shards.

Every shard exists, and each is written once from its first byte to its last. An all-white chunk is omitted, and the
shard's index, which has a checksum, says so: a lost chunk cannot pass for white.
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
"""Compression method of the chunks."""

METADATA_FILE = "zarr.json"
"""The file that makes a folder a Zarr."""

PROFILE_ARRAY = "icc"
"""The array that holds the ICC profile, which OME-NGFF does not provide for."""

OWN_ATTRIBUTE = "wsisr"
"""The attribute that holds everything else that OME-NGFF does not provide for."""

SHARD_TILES = 16
"""Tiles along one side of a shard: 4096 px of 256. A slide is then hundreds of files, not hundreds of thousands."""

_EMPTY_CHUNK = 2**64 - 1
"""Offset and length by which a shard's index marks an omitted chunk."""

MAX_METADATA_BYTES = 16 * 2**20
_CHANNELS = {"Red": "FF0000", "Green": "00FF00", "Blue": "0000FF"}


def write_ome_zarr(folder: Path, levels: Sequence[TileStore], spec: PyramidSpec) -> Iterator[int]:
    """Write the whole folder; yields, after each shard, how many tiles were copied. Memory: one tile.

    Raises `OSError` for disk errors.
    """
    folder.mkdir()
    copied = 0
    for number, level in enumerate(levels):
        level_folder = folder / str(number)
        write_new_file(level_folder / METADATA_FILE, serialise_metadata(_build_image_array(level.grid)))
        for row, column in product(*(range(-(-side // SHARD_TILES)) for side in (level.grid.rows, level.grid.columns))):
            tiles = _list_shard_tiles(level.grid, row, column)
            write_new_file(level_folder / "c" / "0" / str(row) / str(column), _iterate_shard_bytes(level, tiles))
            copied += sum(tile is not None for tile in tiles)
            yield copied
    if spec.icc:
        write_new_file(folder / PROFILE_ARRAY / METADATA_FILE, serialise_metadata(_build_bytes_array(len(spec.icc))))
        write_new_file(folder / PROFILE_ARRAY / "c" / "0", [spec.icc])
    write_new_file(folder / METADATA_FILE, serialise_metadata(_build_group(spec, len(levels))))
    for subfolder in [*folder.rglob("*/"), folder]:
        sync_folder(subfolder)


def read_ome_zarr_metadata(folder: Path) -> dict[str, str]:
    """Return our metadata from an OME-Zarr; empty if it has none. Raises `SlideError` if the folder is no Zarr 3."""
    try:
        with (folder / METADATA_FILE).open("rb") as file:
            own = dict(json.loads(file.read(MAX_METADATA_BYTES))).get("attributes", {}).get(OWN_ATTRIBUTE, {})
        return {str(name): str(text) for name, text in own.get("note", {}).items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise SlideError(f"{folder}: cannot be read as a zarr of version 3; give a file that wsisr wrote") from error


def _list_shard_tiles(grid: LevelGrid, row: int, column: int) -> list[int | None]:
    """Return the tiles of a shard, row by row; None for places beyond the level's border."""
    rows, columns = _shard_shape(grid)
    places = product(range(row * rows, (row + 1) * rows), range(column * columns, (column + 1) * columns))
    return [y * grid.columns + x if y < grid.rows and x < grid.columns else None for y, x in places]


def _shard_shape(grid: LevelGrid) -> tuple[int, int]:
    """Return the rows and columns of tiles in a shard; a level smaller than a shard is one shard of its own size."""
    return min(SHARD_TILES, grid.rows), min(SHARD_TILES, grid.columns)


def _iterate_shard_bytes(level: TileStore, tiles: Sequence[int | None]) -> Iterator[bytes]:
    """Yield the chunks of a shard, then the index of their offsets and lengths, then the CRC-32C of the index."""
    white, end = level.codec.white_tile(level.grid.tile_px), 0
    index = np.full((len(tiles), 2), _EMPTY_CHUNK, "<u8")
    for number, tile in enumerate(tiles):
        chunk = white if tile is None else level.read_encoded(tile)
        if chunk != white:
            index[number] = end, len(chunk)
            end += len(chunk)
            yield chunk
    yield index.tobytes()
    yield google_crc32c.value(index.tobytes()).to_bytes(4, "little")


def _build_image_array(grid: LevelGrid) -> dict[str, Any]:
    shard_height, shard_width = (tiles * grid.tile_px for tiles in _shard_shape(grid))
    chunk_codecs = [{"name": "bytes"}, {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}}]
    sharding = {
        "chunk_shape": [3, grid.tile_px, grid.tile_px],
        "codecs": [*chunk_codecs, {"name": "crc32c"}],
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "index_location": "end",
    }
    shape, shard = [3, grid.size.height, grid.size.width], [3, shard_height, shard_width]
    codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    return build_array(shape, shard, codecs, WHITE) | {"dimension_names": ["c", "y", "x"]}


def _build_bytes_array(length: int) -> dict[str, Any]:
    return build_array([length], [length], [{"name": "bytes"}], 0)


def build_array(shape: list[int], chunk: list[int], codecs: list[dict[str, Any]], fill: int) -> dict[str, Any]:
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
    """Return the metadata of the root group: OME-NGFF's of an image, and our own."""
    unit = {} if spec.mpp is None else {"unit": "micrometer"}
    axes = [{"name": "c", "type": "channel"}, *({"name": name, "type": "space"} | unit for name in "yx")]
    datasets = [
        {"path": str(number), "coordinateTransformations": _build_transformations(spec, number)}
        for number in range(levels)
    ]
    # napari-ome-zarr cuts a name at each "/", and would lose the words that say that the image is derived.
    multiscale = {
        "name": spec.title.replace("/", " per ") or "image",
        "axes": axes,
        "datasets": datasets,
        "type": "mean",
        "metadata": {"description": "each level is the 2x2 area mean of the level above, rounded once, ties to even"},
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
    """Return scale and translation of a level, in um.

    A position is that of a pixel's centre, so the first pixel of a coarser level lies further inside the image.
    """
    mpp = spec.mpp or 1.0
    x, y = (offset + (2**level - 1) / 2 * mpp for offset in spec.origin_um)
    scale = {"type": "scale", "scale": [1.0, mpp * 2**level, mpp * 2**level]}
    return [scale, {"type": "translation", "translation": [0.0, y, x]}]


def serialise_metadata(metadata: Mapping[str, Any]) -> list[bytes]:
    return [json.dumps(metadata, indent=2).encode()]


def write_new_file(file: Path, pieces: Iterator[bytes] | list[bytes]) -> None:
    """Write a new file and flush it to the disk."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("xb") as stream:
        stream.writelines(pieces)
        stream.flush()
        os.fsync(stream.fileno())
