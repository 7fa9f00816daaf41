"""The images of a Zeiss CZI file: which of its blocks are one scene, and which of a scene's blocks are one level.

A file lists blocks without order. Each says which part of the canvas it shows and how many pixels it has; the ratio of
the two is its downsample. Scenes, of which slide scanners record one for each piece of tissue, are images of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from wsisr.imaging.geometry import Box, Size
from wsisr.slides.readers.czi_container import CziBlock, CziError

RGB_TYPE = 3
"""Pixel type of 8-bit colour, stored as blue, green, red."""

PIXEL_TYPES = {
    0: "a grayscale image (one sample per pixel, as in fluorescence)",
    1: "a 16-bit grayscale image, as in fluorescence",
    2: "a grayscale image of floating-point numbers",
    4: "a 16-bit RGB image",
    8: "an RGB image of floating-point numbers",
    12: "a 32-bit grayscale image",
}
"""What the pixel types of other images mean, in words."""

_TILE_DIMENSION, _SCENE, _FOCAL_PLANE = "M", "S", "Z"

_NEXT_LEVEL_RATIO = 1.3
"""Ratio of downsamples from which they belong to two levels: levels are 2 or 3 apart, and stored sizes rounded."""

_ROUNDING = 0.02
"""Relative difference between a ratio of sizes and the whole number that it stands for."""

_GRID = 48
"""Points along each side at which a level is compared with level 0."""


@dataclass(frozen=True, slots=True)
class CziLevel:
    """One level of a scene: blocks of any place and size, of which later ones lie above earlier ones."""

    size: Size
    downsample: float
    blocks: tuple[CziBlock, ...]
    places: npt.NDArray[np.int64]
    """Left, top, right and bottom of each block in px of the level, (n, 4)."""

    def find_blocks(self, box: Box) -> list[int]:
        """Return the indices of the blocks that have pixels in a box, from the lowest to the topmost."""
        left, top, right, bottom = self.places.T
        touches = (left < box.right) & (right > box.left) & (top < box.bottom) & (bottom > box.top)
        return [int(index) for index in np.flatnonzero(touches)]

    def count_blocks_in_row(self, height: int) -> int:
        """Return how many blocks a box of that height touches that goes across the middle of the level."""
        top = max(0, self.size.height // 2 - height // 2)
        return len(self.find_blocks(Box(0, top, self.size.width, top + height)))

    def get_place(self, index: int) -> Box:
        return Box(*map(int, self.places[index]))


@dataclass(frozen=True, slots=True)
class CziScene:
    """One image of a file."""

    name: str
    place: Box
    """Where its level 0 lies on the canvas."""
    pixel_types: frozenset[int]
    levels: tuple[CziLevel, ...]
    """From fine to coarse."""
    warnings: tuple[str, ...] = ()


def find_scenes(blocks: Iterable[CziBlock]) -> list[CziScene]:
    """Return the scenes of a file in the order of their numbers; one where it records none.

    Raises `CziError` where the finest level of a scene is missing.
    """
    by_scene: dict[int | None, list[CziBlock]] = {}
    for block in blocks:
        by_scene.setdefault(block.dimensions.get(_SCENE), []).append(block)
    numbered = {number: of_scene for number, of_scene in by_scene.items() if number is not None}
    # Blocks of no scene beside scenes are coarse levels of the whole canvas.
    chosen = sorted(numbered.items()) or [(0, by_scene[None])]
    return [_make_scene(f"scene {number}", of_scene) for number, of_scene in chosen]


def _make_scene(name: str, blocks: Sequence[CziBlock]) -> CziScene:
    plane, warnings = _choose_plane(blocks)
    of_plane = [block for block in blocks if _get_plane(block) == plane]
    of_plane.sort(key=lambda block: block.dimensions.get(_TILE_DIMENSION, -1))
    by_level = _group_by_downsample(of_plane)
    base = by_level.pop(0)
    if base[0] != 1:
        raise CziError(f"the finest level of {name} is not stored")
    place = _enclose(block.place for block in base[1])
    levels = [_make_level(place, *base)]
    for downsample, of_level in by_level:
        if _covers(of_level, downsample, base[1], place):
            levels.append(_make_level(place, downsample, of_level))
        else:
            warnings = (*warnings, f"a level of 1/{downsample:g} does not cover the slide; it is not used")
    return CziScene(name, place, frozenset(block.pixel_type for block in of_plane), tuple(levels), warnings)


def _choose_plane(blocks: Sequence[CziBlock]) -> tuple[tuple[tuple[str, int], ...], tuple[str, ...]]:
    """Choose one plane of several: the middle of the focal planes, the first of any others."""
    planes = sorted({_get_plane(block) for block in blocks})
    focal = sorted({block.dimensions.get(_FOCAL_PLANE, 0) for block in blocks})
    middle = focal[(len(focal) - 1) // 2]
    chosen = next(plane for plane in planes if dict(plane).get(_FOCAL_PLANE, 0) == middle)
    if len(planes) == 1:
        return chosen, ()
    of_plane = ", ".join(f"{name} {index}" for name, index in chosen)
    return chosen, (f"the slide holds {len(planes)} planes (focus, channels or times); {of_plane} is read",)


def _get_plane(block: CziBlock) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(item for item in block.dimensions.items() if item[0] not in (_TILE_DIMENSION, _SCENE)))


def _get_downsample(block: CziBlock) -> float:
    """Return level-0 px per px along the longer side, where rounding matters least."""
    return max(block.place.width, block.place.height) / max(block.stored.width, block.stored.height)


def _group_by_downsample(blocks: Sequence[CziBlock]) -> list[tuple[float, list[CziBlock]]]:
    """Return the blocks of each level with its downsample, from fine to coarse."""
    ratios = sorted({_get_downsample(block) for block in blocks})
    starts = ratios[:1] + [ratio for before, ratio in pairwise(ratios) if ratio > before * _NEXT_LEVEL_RATIO]
    levels: list[list[CziBlock]] = [[] for _ in starts]
    for block in blocks:
        levels[int(np.searchsorted(starts, _get_downsample(block), side="right")) - 1].append(block)
    largest = [max(of_level, key=lambda block: block.stored.pixel_count) for of_level in levels]
    return [(_round_downsample(_get_downsample(block)), each) for block, each in zip(largest, levels, strict=True)]


def _round_downsample(ratio: float) -> float:
    """Return the whole number that a ratio of rounded sizes stands for; the ratio itself where it is near none."""
    return float(round(ratio)) if abs(ratio - round(ratio)) <= _ROUNDING * ratio else ratio


def _make_level(place: Box, downsample: float, blocks: Sequence[CziBlock]) -> CziLevel:
    corners = np.array([(block.place.left - place.left, block.place.top - place.top) for block in blocks])
    lefts, tops = np.floor(corners / downsample + 0.5).astype(np.int64).T
    widths, heights = np.array([(block.stored.width, block.stored.height) for block in blocks], np.int64).T
    places = np.stack([lefts, tops, lefts + widths, tops + heights], axis=1)
    sides = (
        min(int(places[:, 2 + axis].max()), -int(-side // downsample))
        for axis, side in enumerate((place.width, place.height))
    )
    return CziLevel(Size(*sides), downsample, tuple(blocks), places)


def _covers(blocks: Sequence[CziBlock], downsample: float, finest: Sequence[CziBlock], place: Box) -> bool:
    """Whether a level shows all that level 0 shows, to a pixel of its own, judged at points of a grid."""
    return not (_sample_coverage(finest, 0, place) & ~_sample_coverage(blocks, downsample, place)).any()


def _sample_coverage(blocks: Iterable[CziBlock], tolerance: float, place: Box) -> npt.NDArray[np.bool_]:
    """Return whether a block lies at each point of a grid, or nearer than the tolerance, (_GRID, _GRID)."""
    edges = np.array([(each.place.left, each.place.right, each.place.top, each.place.bottom) for each in blocks])
    edges = edges + tolerance * np.array([-1, 1, -1, 1])
    columns, rows = (
        start + (np.arange(_GRID) + 0.5) * side / _GRID
        for start, side in ((place.left, place.width), (place.top, place.height))
    )
    covered = np.zeros((_GRID, _GRID), bool)
    spans = np.concatenate([np.searchsorted(columns, edges[:, :2]), np.searchsorted(rows, edges[:, 2:])], axis=1)
    for left, right, top, bottom in np.unique(spans, axis=0):
        covered[top:bottom, left:right] = True
    return covered


def _enclose(places: Iterable[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*((box.left, box.top, box.right, box.bottom) for box in places), strict=True)
    return Box(min(lefts), min(tops), max(rights), max(bottoms))
