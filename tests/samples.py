"""Where the real slides are, and small TIFFs written with tifffile, whose every pixel is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from wsisr.geometry import Size
from wsisr.pixels import Rgb

REPOSITORY = Path(__file__).parents[1]
CMU_SLIDE = REPOSITORY / "data" / "cmu_small_region.svs"
SHARED_SLIDES = REPOSITORY.parent / "shared" / "slides"


def noise(size: Size, seed: int = 0) -> Rgb:
    """(h, w, 3) in which no two neighbourhoods are alike: a shift of any kind shows."""
    return np.random.default_rng(seed).integers(0, 256, (size.height, size.width, 3), dtype=np.uint8)


def noise_levels(*sizes: Size) -> list[Rgb]:
    """One image for each level, unlike each other."""
    return [noise(size, seed) for seed, size in enumerate(sizes)]


def write_tiff(path: Path, image: np.ndarray[Any, Any], **options: Any) -> Path:
    """A TIFF of one image; RGB unless told otherwise."""
    tifffile.imwrite(path, image, **{"photometric": "rgb", "metadata": None} | options)
    return path


def write_generic_pyramid(path: Path, levels: Sequence[Rgb], **options: Any) -> Path:
    """A tiled pyramid in the main chain, reduced images marked as such: what OpenSlide calls generic-tiff."""
    options = {"tile": (64, 64), "photometric": "rgb", "metadata": None, "compression": "zlib"} | options
    with tifffile.TiffWriter(path) as writer:
        for number, image in enumerate(levels):
            writer.write(image, subfiletype=min(number, 1), **options)
    return path


def write_ome_pyramid(path: Path, levels: Sequence[Rgb], ome: dict[str, Any] | None = None, **options: Any) -> Path:
    """An OME-TIFF whose lower levels are SubIFDs; `ome` holds what its XML says, in tifffile's words."""
    options = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib"} | options
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(levels[0], subifds=len(levels) - 1, metadata={"axes": "YXS"} | (ome or {}), **options)
        for image in levels[1:]:
            writer.write(image, subfiletype=1, **options)
    return path
