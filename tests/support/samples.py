"""Paths of the real slides, and small slides written with tifffile and zarr, whose every pixel is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.models.upscaler import Upscaler
from wsisr.slides import Level, Slide, SlideInfo
from wsisr.slides.region import SlideRegion
from wsisr.upscaling.engine import enlarge_blocks
from wsisr.upscaling.plan import UpscaleOptions, plan_upscaling

REPOSITORY = Path(__file__).parents[2]
CMU_SLIDE = REPOSITORY / "data" / "cmu_small_region.svs"
SHARED_SLIDES = REPOSITORY.parent / "shared" / "slides"


def make_noise(size: Size, seed: int = 0) -> Rgb:
    """Return (h, w, 3) of noise: no two neighbourhoods are equal, so any shift is detected."""
    return np.random.default_rng(seed).integers(0, 256, (size.height, size.width, 3), dtype=np.uint8)


def make_noise_levels(*sizes: Size) -> list[Rgb]:
    """Return a different image of noise for each level."""
    return [make_noise(size, seed) for seed, size in enumerate(sizes)]


def write_tiff(path: Path, image: np.ndarray[Any, Any], **options: Any) -> Path:
    """Write a TIFF of one image, RGB by default."""
    tifffile.imwrite(path, image, **{"photometric": "rgb", "metadata": None} | options)
    return path


def write_generic_pyramid(path: Path, levels: Sequence[Rgb], **options: Any) -> Path:
    """Write a tiled pyramid in the main IFD chain, with reduced images marked: OpenSlide's generic-tiff."""
    options = {"tile": (64, 64), "photometric": "rgb", "metadata": None, "compression": "zlib"} | options
    with tifffile.TiffWriter(path) as writer:
        for number, image in enumerate(levels):
            writer.write(image, subfiletype=min(number, 1), **options)
    return path


def write_ome_pyramid(path: Path, levels: Sequence[Rgb], ome: dict[str, Any] | None = None, **options: Any) -> Path:
    """Write an OME-TIFF whose lower levels are SubIFDs; `ome` holds tifffile's metadata for its XML."""
    options = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib"} | options
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(levels[0], subifds=len(levels) - 1, metadata={"axes": "YXS"} | (ome or {}), **options)
        for image in levels[1:]:
            writer.write(image, subfiletype=1, **options)
    return path


def write_ome_zarr(
    folder: Path, levels: Sequence[Rgb], version: str, axes: str = "cyx", scale: float | None = 0.25, **options: Any
) -> Path:
    """Write OME-Zarr 0.4 (zarr v2) or 0.5 (zarr v3) with the zarr library; `options` apply to each array."""
    group = zarr.create_group(folder, zarr_format=2 if version == "0.4" else 3)
    shape = tuple(3 if axis == "c" else 64 if axis in "yx" else 1 for axis in axes)
    for number, image in enumerate(levels):
        pixels = np.expand_dims(np.moveaxis(image, -1, 0), tuple(range(len(axes) - 3)))
        pixels = np.moveaxis(pixels, -3, axes.index("c"))
        array = group.create_array(str(number), shape=pixels.shape, dtype="uint8", **{"chunks": shape} | options)
        array[...] = pixels
    kinds = {"t": "time", "c": "channel"}
    named: list[Any] = [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes]
    named = [axis | ({"unit": "micrometer"} if axis["type"] == "space" else {}) for axis in named]
    datasets: list[Any] = [
        {
            "path": str(number),
            "coordinateTransformations": [
                {
                    "type": "scale",
                    "scale": [
                        (scale or 1) * levels[0].shape[1] / image.shape[1] if axis in "xy" else 1.0 for axis in axes
                    ],
                }
            ],
        }
        for number, image in enumerate(levels)
    ]
    if scale is None:
        named = [{key: value for key, value in axis.items() if key != "unit"} for axis in named]
    multiscales: list[Any] = [{"axes": named, "datasets": datasets}]
    if version == "0.4":
        group.attrs["multiscales"] = [multiscales[0] | {"version": "0.4"}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
    return folder


class InMemorySlide(Slide):
    """A slide of one level whose pixels are in memory."""

    def __init__(self, pixels: Rgb, mpp: float | None = 0.5) -> None:
        self.pixels = pixels
        size = Size(pixels.shape[1], pixels.shape[0])
        self._info = SlideInfo(
            path=Path("picture"),
            reader="memory",
            vendor="test",
            levels=(Level(size, 1.0),),
            mpp=mpp,
            objective=None,
            icc=None,
            associated={},
            properties={},
        )

    @property
    def info(self) -> SlideInfo:
        return self._info

    def read(self, box: Box, level: int) -> Rgb:
        assert level == 0
        assert Box.from_size(self._info.size).contains(box)
        return self.pixels[box.rows, box.columns]

    def close(self) -> None:
        pass


def upscale_pixels(pixels: Rgb, upscaler: Upscaler, options: UpscaleOptions) -> Rgb:
    """Upscale pixels block by block and assemble the blocks."""
    plan = plan_upscaling(SlideRegion(InMemorySlide(pixels), 0), upscaler, options)
    result = np.zeros((plan.output.size.height, plan.output.size.width, 3), np.uint8)
    for box, block in enlarge_blocks(plan):
        result[box.rows, box.columns] = block
    return result
