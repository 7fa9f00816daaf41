"""Pyramid pairs: a patch of one level of a slide, and the same field on the slide's own coarser levels."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wsisr.dataset.store import MANIFEST, PatchRecord, write_group, write_manifest
from wsisr.errors import DatasetError
from wsisr.geometry import Box, Size
from wsisr.pixels import Rgb
from wsisr.progress import Progress
from wsisr.slides import Slide, SlideInfo, open_slide

SCALES = (2, 4)

FLAT_CONTRAST = 6.0
"""Grey levels of standard deviation below which a patch counts as glass or faint."""

FLAT_SHARE = 0.08
"""Largest share of flat patches in a group: enough to learn to leave white alone."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How patches are chosen."""

    patch_px: int = 256
    """Side of a high-resolution patch; a multiple of 4."""
    coarsest_mpp: float = 2.1
    """Levels coarser than this, in um/px, give no high-resolution patches."""
    most_patches: int = 1000
    """Patches with contrast that one level of one slide gives at the most; bounds memory to 200 MB."""
    case_pattern: str = r"^[^_.]+"
    """What of a file name, without its folder, names the case."""
    val_share: float = 0.1
    """Share of cases that go to validation, by hash of the case's name."""

    def __post_init__(self) -> None:
        if self.patch_px % max(SCALES) or self.patch_px < 64:
            raise DatasetError(f"a patch of {self.patch_px} px is not a multiple of {max(SCALES)} of at least 64")

    def case(self, slide: Path) -> str:
        found = re.search(self.case_pattern, slide.name)
        return found.group(0) if found else slide.stem

    def split(self, case: str) -> str:
        fraction = int.from_bytes(hashlib.sha256(case.encode()).digest()[:4], "big") / 2**32
        return "val" if fraction < self.val_share else "train"


def build(slides: Sequence[Path], held_out: Sequence[Path], folder: Path, recipe: Recipe) -> Iterator[Progress]:
    """Writes a dataset from slides. `held_out` slides are the validation split; without any, cases are split by hash.

    Raises `DatasetError` if the folder holds a dataset, a case would be in both splits, or no slide gives a pair.
    """
    if (folder / MANIFEST).exists():
        raise DatasetError(f"{folder}: holds a dataset already; give another folder or remove it")
    _refuse_shared_cases(slides, held_out, recipe)
    records: list[PatchRecord] = []
    everything = [*slides, *held_out]
    for done, path in enumerate(everything):
        yield Progress("slides", done, len(everything))
        split = "val" if path in held_out else "train" if held_out else recipe.split(recipe.case(path))
        with open_slide(path) as slide:
            records += _take(slide, split, folder, recipe)
    if not records:
        raise DatasetError("no slide has a level at least twice as fine as another; nothing to pair")
    write_manifest(folder, records)
    yield Progress("slides", len(everything), len(everything))


def partners(info: SlideInfo, level: int) -> dict[int, int]:
    """Scale to the coarser level that shows exactly that scale, for those of `SCALES` that the pyramid has."""
    fine = info.levels[level]
    found = {}
    for scale in SCALES:
        for index, coarse in enumerate(info.levels):
            exact = Size(fine.size.width // scale, fine.size.height // scale)
            if abs(coarse.size.width - exact.width) <= 1 and abs(coarse.size.height - exact.height) <= 1:
                found[scale] = index
    return found


def _refuse_shared_cases(slides: Sequence[Path], held_out: Sequence[Path], recipe: Recipe) -> None:
    shared = {recipe.case(path) for path in slides} & {recipe.case(path) for path in held_out}
    if shared:
        raise DatasetError(f"cases in training and validation both: {', '.join(sorted(shared))}; split by case")


def _take(slide: Slide, split: str, folder: Path, recipe: Recipe) -> list[PatchRecord]:
    """All groups of one slide, stored; their records."""
    records = []
    for level in range(len(slide.info.levels)):
        mpp = slide.info.level_mpp(level)
        if mpp is None:
            raise DatasetError(f"{slide.info.path}: pixel pitch is not recorded; without it patches have no class")
        found = partners(slide.info, level)
        if mpp <= recipe.coarsest_mpp and found:
            records += _take_level(slide, level, split, folder, recipe)
    return records


def _take_level(slide: Slide, level: int, split: str, folder: Path, recipe: Recipe) -> list[PatchRecord]:
    """One group: patches on a grid without overlap, chosen by the contrast of their coarsest partner."""
    info, found = slide.info, partners(slide.info, level)
    boxes = list(_grid(info.levels[level].size, recipe.patch_px))
    scale, coarse = max(found.items())
    contrasts = [_contrast(slide.read(_shrunk(box, scale), coarse)) for box in boxes]
    chosen = _choose(contrasts, recipe.most_patches)
    if not chosen:
        return []
    group = f"{info.path.stem}-{level}"
    write_group(folder, "hr", group, [slide.read(boxes[i], level) for i in chosen])
    for scale, coarse in found.items():
        write_group(folder, f"lr{scale}", group, [slide.read(_shrunk(boxes[i], scale), coarse) for i in chosen])
    blank = PatchRecord(
        group=group,
        index=0,
        slide=info.path.name,
        case=recipe.case(info.path),
        split=split,
        level=level,
        left=0,
        top=0,
        mpp=info.level_mpp(level) or 0.0,
        contrast=0.0,
        scales=tuple(found),
    )
    return [
        replace(blank, index=row, left=boxes[i].left, top=boxes[i].top, contrast=round(contrasts[i], 2))
        for row, i in enumerate(chosen)
    ]


def _grid(size: Size, side: int) -> Iterator[Box]:
    for top in range(0, size.height - side + 1, side):
        for left in range(0, size.width - side + 1, side):
            yield Box(left, top, left + side, top + side)


def _shrunk(box: Box, scale: int) -> Box:
    return Box(box.left // scale, box.top // scale, box.right // scale, box.bottom // scale)


def _contrast(patch: Rgb) -> float:
    return float(np.std(patch.mean(axis=2)))


def _choose(contrasts: Sequence[float], most: int) -> list[int]:
    """Indices of the patches to keep, in order: those with contrast, and flat ones up to their share of them."""
    flat = [i for i, contrast in enumerate(contrasts) if contrast < FLAT_CONTRAST]
    full = _spread([i for i, contrast in enumerate(contrasts) if contrast >= FLAT_CONTRAST], most)
    return sorted(full + _spread(flat, max(2, round(FLAT_SHARE * len(full))) if full else 0))


def _spread(items: list[int], most: int) -> list[int]:
    """At most so many of the items, evenly spaced."""
    return items if len(items) <= most else [items[i * len(items) // most] for i in range(most)]
