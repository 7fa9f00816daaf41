"""Small slides of known pixels with a pitch, and small datasets made of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tests.samples import noise, write_ome_pyramid
from wsisr.dataset.pyramid import build
from wsisr.dataset.recipe import Recipe
from wsisr.dataset.sources import sources_of
from wsisr.dataset.store import PatchRecord, PatchStore, write_group, write_manifest
from wsisr.geometry import Size
from wsisr.pixels import Rgb, enlarge, shrink

RECIPE = Recipe(patch_px=64)
SMALL = Size(192, 128)


def write_slide(
    path: Path, size: Size = SMALL, factors: Sequence[int] = (2, 4), *, mpp: float | None = 0.5, seed: int = 0
) -> Path:
    """A pyramid of noise; levels are unlike each other, so that a pixel of the wrong one shows."""
    sizes = [size, *(Size(size.width // factor, size.height // factor) for factor in factors)]
    return write_levels(path, [noise(level, seed + number) for number, level in enumerate(sizes)], mpp)


def write_glass(path: Path) -> Path:
    """A pyramid on which there is nothing."""
    return write_levels(path, [np.full((side, side, 3), 240, np.uint8) for side in (128, 64)], 0.5)


def write_levels(path: Path, levels: Sequence[Rgb], mpp: float | None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_ome_pyramid(path, levels, {} if mpp is None else {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp})


def built(folder: Path, slides: Iterable[Path], held_out: Iterable[Path] = (), recipe: Recipe = RECIPE) -> PatchStore:
    """A dataset, built to its end."""
    deque(build(sources_of(slides, held_out, recipe), folder, recipe))
    return PatchStore(folder)


def files_under(folder: Path) -> dict[str, bytes]:
    """Path in the folder to content, of every file."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_dataset(folder: Path, *, side: int = 64, seed: int = 0) -> Path:
    """Two training slides and one for validation, four patches each of blurred noise, which can be learned."""
    records = []
    for number, split in enumerate(("train", "train", "val")):
        name = f"slide{number}"
        highs = [enlarge(noise(Size(side // 4, side // 4), seed + 10 * number + i), 4, "bicubic") for i in range(4)]
        for kind, scale in (("hr", 1), ("lr2", 2), ("lr4", 4)):
            patches = [shrink(high, scale, "area") for high in highs]
            folder.joinpath(kind).mkdir(parents=True, exist_ok=True)
            write_group(folder, kind, f"{name}-0", patches, (len(patches), side // scale))
        for index in range(len(highs)):
            place = {"group": f"{name}-0", "slide": f"{name}.svs", "case": name, "split": split, "level": 0}
            records.append(
                PatchRecord(**place, index=index, left=side * index, top=0, mpp=0.5, contrast=40.0, scales=(2, 4))  # type: ignore[arg-type]
            )
    write_manifest(folder, records)
    return folder
