"""The check of a written pyramid TIFF: findings, one line each, from two independent readers of the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from wsisr.errors import SlideError, in_words
from wsisr.geometry import Box, Size
from wsisr.pixels import Rgb, halve
from wsisr.slides._openslide import OpenSlideSlide, openslide_info
from wsisr.slides.slide import Slide
from wsisr.writing.grid import Grid

SAMPLES = 9
"""Tiles that are decoded of each level."""

READERS_DIFFER = 2
"""Grey levels by which two decoders of one JPEG may differ."""

CODING_COSTS = 16.0
"""Mean grey levels that coding may change a tile by; another place of the slide differs by more."""

SAME_MPP = 1e-3

_DAMAGED = (tifffile.TiffFileError, OSError, ValueError, TypeError, LookupError, RuntimeError, SlideError)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check came to."""

    check: str
    good: bool
    words: str


def verify(path: Path, note: dict[str, str]) -> Iterator[Finding]:
    """Checks of a pyramid TIFF, as each is done; what cannot be read is a finding, not an error.

    Sizes and pitch are compared with what the note says was intended. Memory: a few tiles.
    """
    try:
        with tifffile.TiffFile(path) as tiff, _in_openslide(path) as slide:
            yield _inside(tiff, path.stat().st_size)
            levels = tiff.series[0].levels
            yield _sizes([Size(level.keyframe.imagewidth, level.keyframe.imagelength) for level in levels], slide)
            yield from _intended(slide, note)
            pages = [level.keyframe for level in levels]
            for number in range(len(pages)):
                yield _decoded(pages, slide, number)
    except _DAMAGED as error:
        yield Finding("readable", False, in_words(error))


def _in_openslide(path: Path) -> Slide:
    """Through OpenSlide, whatever else wsisr would read it with: tifffile is the other witness."""
    info = openslide_info(path)
    if info is None:
        raise SlideError(f"{path}: OpenSlide does not know it")
    return OpenSlideSlide(info)


def _inside(tiff: Any, size: int) -> Finding:
    """Every directory is walked, and every byte that one points at is in the file."""
    pages = [page.aspage() for page in tiff.pages]
    ends = [at + count for page in pages for at, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    empty = sum(count == 0 for page in pages for count in page.databytecounts)
    beyond = sum(end > size for end in ends)
    words = f"{len(ends)} tiles of {len(pages)} images; {beyond} beyond the end of the file, {empty} empty"
    return Finding("tiles", not beyond and not empty, words)


def _sizes(seen: list[Size], slide: Slide) -> Finding:
    other = [level.size for level in slide.info.levels]
    halved = all(Size(-(-a.width // 2), -(-a.height // 2)) == b for a, b in pairwise(seen))
    words = f"{len(seen)} in tifffile, {len(other)} in {slide.info.reader}, each half the one above: {halved}"
    return Finding("levels", seen == other and halved, words)


def _intended(slide: Slide, note: dict[str, str]) -> Iterator[Finding]:
    size, mpp = note.get("size"), note.get("mpp")
    if size is not None:
        yield Finding("size", size == f"{slide.info.size} px", f"{slide.info.size} px, intended {size}")
    if mpp is not None and mpp != "unknown":
        same = slide.info.mpp is not None and abs(slide.info.mpp / float(mpp) - 1) < SAME_MPP
        yield Finding("pixel pitch", same, f"{slide.info.mpp or 0:.6g} um/px, intended {mpp}")


def _decoded(pages: list[Any], slide: Slide, number: int) -> Finding:
    """A sample of tiles: both readers agree, and each shows what the halved level above shows.

    OpenSlide places its boxes on whole pixels of level 0: where the downsample is not whole, only the first tile
    counts.
    """
    page, above = pages[number], pages[max(number - 1, 0)]
    grid, apart, changed = _grid(page), 0, 0.0
    tiles = sorted({round(place) for place in np.linspace(0, grid.tiles - 1, SAMPLES)})
    for tile in tiles:
        box = grid.box(tile)
        seen = _region(page, box)
        if tile == 0 or slide.info.level(number).downsample.is_integer():
            apart = max(apart, int(np.abs(slide.read(box, number).astype(int) - seen).max()))
        if number:
            halved = halve(_region(above, (box * 2).intersection(Box.of(_grid(above).size))))
            changed = max(changed, float(np.abs(halved.astype(int) - seen).mean()))
    words = f"{len(tiles)} tiles; readers differ by {apart}, from the level above by {changed:.1f} grey levels"
    return Finding(f"level {number}", apart <= READERS_DIFFER and changed <= CODING_COSTS, words)


def _grid(page: Any) -> Grid:
    return Grid(Size(page.imagewidth, page.imagelength), page.tilewidth)


def _region(page: Any, box: Box) -> Rgb:
    """Pixels of a box inside the image, as tifffile decodes them."""
    return _grid(page).read(box, lambda tile: _tile(page, tile))


def _tile(page: Any, tile: int) -> Rgb:
    decode, tables, file = page.decode, page.jpegtables, page.parent.filehandle  # asking for these moves the file
    file.seek(page.dataoffsets[tile])
    decoded = decode(file.read(page.databytecounts[tile]), tile, jpegtables=tables)[0]
    if decoded is None:
        raise ValueError(f"tile {tile} of {page.imagewidth} x {page.imagelength} px is empty")
    pixels: Rgb = decoded[0]
    return pixels
