"""The hybrid TIFF layout: OME-XML and every level in the main chain, which tag 330 of the first IFD also points at.

Readers of generic pyramids follow the chain and its subfile types, readers of OME-TIFF follow tag 330; both find the
same IFDs. tifffile writes everything but tag 330, for which a placeholder is renamed afterwards.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import tifffile

from wsisr.errors import OutputError
from wsisr.writing.codec import SUBSAMPLINGS
from wsisr.writing.omexml import ome_xml
from wsisr.writing.spec import TiffSpec
from wsisr.writing.store import TileStore

CLASSIC_BYTES = 2**32 - 1
"""What 32-bit offsets can reach."""

_SUBIFDS = 330
_PLACEHOLDER = 65330
_REDUCED = 1
_LONG, _LONG8 = 4, 16


def assemble(path: Path, levels: Sequence[TileStore], spec: TiffSpec) -> Iterator[int]:
    """Write the file by copying encoded tiles; yields how many, after each level. One tile in memory at a time.

    Raises `OSError` where the disk refuses, `OutputError` where classic TIFF is asked for and too small.
    """
    bigtiff = _bigtiff(levels, spec)
    # The file is ours, not tifffile's, because tifffile swallows the errors of closing its own.
    with path.open("w+b") as file:
        with tifffile.TiffWriter(file, bigtiff=bigtiff, byteorder="<", ome=False, shaped=False) as tiff:
            copied = 0
            for number, level in enumerate(levels):
                tiff.write(level.tiles(), **_tags(levels, number, spec, bigtiff))
                copied += level.grid.tiles
                yield copied
        _point_at_levels(file)
        file.flush()
        os.fsync(file.fileno())


def bytes_at_most(levels: Sequence[TileStore], spec: TiffSpec) -> int:
    """Size that the file cannot exceed: tiles, 16 bytes of index for each, metadata, and room for the other tags."""
    tiles = sum(level.nbytes + 16 * level.grid.tiles + 1024 for level in levels)
    return tiles + len(ome_xml(spec)) + len(spec.icc or b"") + 8 * len(levels) + 1024


def _bigtiff(levels: Sequence[TileStore], spec: TiffSpec) -> bool:
    needed = bytes_at_most(levels, spec) > CLASSIC_BYTES
    if needed and spec.bigtiff is False:
        raise OutputError("classic TIFF ends at 4 GB and this image may be larger; let it be a BigTIFF")
    return needed if spec.bigtiff is None else spec.bigtiff


def _tags(levels: Sequence[TileStore], number: int, spec: TiffSpec, bigtiff: bool) -> dict[str, Any]:
    """Arguments of `TiffWriter.write` for one level."""
    grid = levels[number].grid
    tags: dict[str, Any] = {
        "shape": (grid.size.height, grid.size.width, 3),
        "dtype": "uint8",
        "tile": (grid.tile_px, grid.tile_px),
        # 'rgb' with 'jpeg' makes tifffile tag the tiles as YCbCr, which they are.
        "photometric": "rgb",
        "planarconfig": "contig",
        "compression": spec.codec.coding.compression,
        "predictor": spec.codec.coding.predictor,
        "metadata": None,
        "software": False,
    }
    if spec.codec.method == "jpeg":
        tags["subsampling"] = SUBSAMPLINGS[spec.codec.subsampling]
    if spec.mpp is not None:
        per_cm = 1e4 / (spec.mpp * 2**number)
        tags |= {"resolution": (per_cm, per_cm), "resolutionunit": "centimeter"}
    return tags | (_first_tags(len(levels) - 1, spec, bigtiff) if number == 0 else {"subfiletype": _REDUCED})


def _first_tags(reduced: int, spec: TiffSpec, bigtiff: bool) -> dict[str, Any]:
    """What only the first IFD has: profiles are large, and readers look nowhere else for the description."""
    offsets = (_PLACEHOLDER, _LONG8 if bigtiff else _LONG, reduced, (0,) * reduced, True)
    return {
        "description": ome_xml(spec),
        "software": spec.software,
        "iccprofile": spec.icc,
        "extratags": [offsets] if reduced else [],
    }


def _point_at_levels(file: BinaryIO) -> None:
    """Fill the placeholder of the first IFD with the offsets of the others and make it tag 330."""
    file.seek(0)  # tifffile takes the position it finds for the start of the file
    with tifffile.TiffFile(file) as tiff:
        first, *reduced = [page.offset for page in tiff.pages]
        if not reduced:
            return
        tiff.pages.first.tags[_PLACEHOLDER].overwrite(reduced)
        big = tiff.is_bigtiff
    _rename_tag(file, first, big)


def _rename_tag(file: BinaryIO, ifd: int, big: bool) -> None:
    # The entries of an IFD must stay in the order of their numbers.
    count_format, entry_format = ("<Q", "<H18s") if big else ("<H", "<H10s")
    count_bytes, entry_bytes = struct.calcsize(count_format), struct.calcsize(entry_format)
    file.seek(ifd)
    (count,) = struct.unpack(count_format, file.read(count_bytes))
    entries = struct.iter_unpack(entry_format, file.read(count * entry_bytes))
    renamed = sorted((_SUBIFDS if number == _PLACEHOLDER else number, rest) for number, rest in entries)
    file.seek(ifd + count_bytes)
    file.write(b"".join(struct.pack(entry_format, *entry) for entry in renamed))
