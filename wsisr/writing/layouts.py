"""The layouts of a pyramid file, chosen by name or by the suffix of the output."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsisr.errors import OutputError
from wsisr.writing import aperio, hybrid
from wsisr.writing.spec import TiffSpec
from wsisr.writing.store import TileStore
from wsisr.writing.tiff import TiffDraft

CLASSIC_BYTES = 2**32 - 1
"""What 32-bit offsets can reach."""

COMPANIONS_BYTES = 2**21
"""More than label and thumbnail take."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How images and words are arranged in a file."""

    suffix: str
    """Of an output that got no name."""
    suffixes: tuple[str, ...]
    """Of an output that is to have this layout."""
    fill: Callable[[TiffDraft, Sequence[TileStore], TiffSpec], Iterator[int]]
    words: Callable[[TiffSpec], bytes]
    """The longest description."""


LAYOUTS = {
    "ome-tiff": Layout(".ome.tif", (".tif", ".tiff"), hybrid.fill, hybrid.words),
    "aperio": Layout(".svs", (".svs",), aperio.fill, aperio.words),
}


def layout_of(output: Path, name: str | None = None) -> Layout:
    """The layout of that name, or the one that the output's suffix stands for. Raises `OutputError` without one."""
    check_layout(name)
    if name is not None:
        return LAYOUTS[name]
    for layout in LAYOUTS.values():
        if output.suffix.lower() in layout.suffixes:
            return layout
    known = " or ".join(suffix for layout in LAYOUTS.values() for suffix in layout.suffixes)
    raise OutputError(f"{output}: its name must end in {known}, for that says what is written; or give --layout")


def check_layout(name: str | None) -> None:
    """Raise `OutputError` for a name that no layout has."""
    if name is not None and name not in LAYOUTS:
        raise OutputError(f"there is no layout {name}; choose {' or '.join(LAYOUTS)}")


def assemble(path: Path, levels: Sequence[TileStore], spec: TiffSpec, layout: Layout) -> Iterator[int]:
    """Write the file by copying encoded tiles; yields how many, after each level. One tile in memory at a time.

    Raises `OSError` where the disk refuses, `OutputError` where classic TIFF is asked for and too small.
    """
    big = _bigtiff(levels, spec, layout)
    with path.open("w+b") as file:
        yield from layout.fill(TiffDraft(file, big=big, shared=spec.codec.white(spec.tile_px)), levels, spec)
        file.flush()
        os.fsync(file.fileno())


def bytes_at_most(levels: Sequence[TileStore], spec: TiffSpec, layout: Layout) -> int:
    """Size that the file cannot exceed: tiles, 16 bytes of index for each, metadata, and room for the other tags."""
    tiles = sum(level.nbytes + 16 * level.grid.tiles + 2048 for level in levels)
    return tiles + len(layout.words(spec)) + len(spec.icc or b"") + COMPANIONS_BYTES


def _bigtiff(levels: Sequence[TileStore], spec: TiffSpec, layout: Layout) -> bool:
    needed = bytes_at_most(levels, spec, layout) > CLASSIC_BYTES
    if needed and spec.bigtiff is False:
        raise OutputError("classic TIFF ends at 4 GB and this image may be larger; let it be a BigTIFF")
    return needed if spec.bigtiff is None else spec.bigtiff
