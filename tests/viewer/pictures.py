"""A scan in JPEG tiles and a result of one region of it, small and of the same structure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support.formats import make_blobs
from tests.support.samples import write_tiff
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import shrink_image

SCAN_SIZE, SCAN_MPP = Size(600, 420), 0.5
REGION = (120, 60, 400, 300)
"""Left, top, width and height of what the result shows, in px of the scan."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Files of the same tissue, with different pixel sizes and corners."""

    scan: Path
    """600 x 420 px of 0.5 um, JPEG tiles of 128 px in YCbCr."""
    result: Path
    """The region at 0.25 um: 800 x 600 px."""


def write_scan(path: Path, *, compression: str = "jpeg") -> Path:
    pixels = shrink_image(make_blobs(SCAN_SIZE * 2), 2, "area")
    options = {"photometric": "ycbcr", "subsampling": (1, 1)} if compression == "jpeg" else {}
    resolution = {"resolution": (1e4 / SCAN_MPP, 1e4 / SCAN_MPP), "resolutionunit": "CENTIMETER"}
    return write_tiff(path, pixels, tile=(128, 128), compression=compression, **options, **resolution)


def write_pair(folder: Path) -> Pair:
    from wsisr.api import upscale_slide

    scan, result = write_scan(folder / "scan.tif"), folder / "result.x2.ome.tif"
    upscale_slide(scan, output=result, region=REGION, scale=2, model="bicubic", tissue="none")
    return Pair(scan, result)
