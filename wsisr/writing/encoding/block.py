"""Encoded block: all that the pyramid needs of a box of level 0, made where its pixels are, stored somewhere else."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.writing.encoding.encoder import TileEncoder
from wsisr.writing.encoding.grid import LevelGrid
from wsisr.writing.encoding.level_link import LevelLink


class EncodedBlock(NamedTuple):
    """The tiles that a box of level 0 completes by itself, and halves of those that wait for pixels beside the box."""

    tiles: tuple[dict[int, bytes], ...]
    """For each level, the finest first: encoded tiles by number."""
    halves: tuple[dict[int, bytes], ...]
    """For each level but the last: halved pixels of the tiles whose coarser tile shows more than the box."""

    @property
    def nbytes(self) -> int:
        return sum(len(data) for level in (*self.tiles, *self.halves) for data in level.values())


def encode_block(encoder: TileEncoder, grids: Sequence[LevelGrid], box: Box, pixels: Rgb) -> EncodedBlock:
    """Encode (h, w, 3) sRGB of a box in level-0 px, made of whole tiles, on every level.

    The tiles are the bytes that `PyramidLevels` would make of these pixels itself.
    """
    tiles = list(grids[0].find_tiles(box))
    boxes = (grids[0].tile_box(tile).relative_to(box) for tile in tiles)
    encoded = encoder.encode_tiles([pixels[tile_box.rows, tile_box.columns] for tile_box in boxes])
    levels, halves = [_copy_pieces(tiles, encoded)], []
    for finer, coarser in pairwise(grids):
        link, index_of = LevelLink(finer, coarser), {tile: index for index, tile in enumerate(tiles)}
        shown = dict.fromkeys(map(link.find_coarser, tiles))
        whole = {tile: None for tile in shown if all(part in index_of for part in link.find_finer(tile))}
        rest = [tile for tile in tiles if link.find_coarser(tile) not in whole]
        halves.append(_copy_pieces(rest, encoder.halve_tiles([index_of[tile] for tile in rest]) if rest else ()))
        tiles = list(whole)
        described = [link.describe_coarser(tile, index_of.__getitem__) for tile in tiles]
        levels.append(_copy_pieces(tiles, encoder.encode_coarser(described) if tiles else ()))
    return EncodedBlock(tuple(levels), tuple(halves))


def _copy_pieces(tiles: Sequence[int], pieces: Sequence[bytes | memoryview]) -> dict[int, bytes]:
    return {tile: bytes(piece) for tile, piece in zip(tiles, pieces, strict=True)}
