"""The trust layer of a result, as a picture to lay over it: how large its error may be in every place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wsisr.errors import SlideError
from wsisr.slides.readers.tiff import open_tiff
from wsisr.upscaling.provenance import read_derived_metadata
from wsisr.upscaling.trust.colours import draw_bounds
from wsisr.upscaling.trust.features import CELL_PX
from wsisr.upscaling.trust.summary import BoundPlane, TrustFiles
from wsisr.viewer.placement import parse_source_region

TRUST_SUFFIX = ".trust.ome.tif"
"""End of the names of trust layers."""

MAX_TRUST_SIDE_PX = 4096
"""Longest side of the picture; of a larger layer, a coarser level is shown."""

_SUFFIXES = (".ome.tif", ".ome.zarr")
"""Suffixes of results of two parts."""


@dataclass(frozen=True, eq=False)
class TrustLayer:
    """A trust layer and where it lies."""

    name: str
    bounds: BoundPlane = field(repr=False)
    extent: tuple[float, float, float, float]
    """Left, top, right and bottom in um of the page."""
    summary: str
    """What the layer says of the result's tissue, in words."""

    def draw(self) -> bytes:
        """Return a PNG, stretched over the extent."""
        return draw_bounds(self.bounds)


def find_trust_layer(result: Path) -> Path | None:
    """Return the trust layer beside a result; None where there is none."""
    suffix = next((suffix for suffix in _SUFFIXES if result.name.endswith(suffix)), result.suffix)
    layer = TrustFiles.from_output(result, suffix).layer
    return layer if layer.is_file() else None


def read_trust_layer(path: Path, scan_mpps: Sequence[float]) -> TrustLayer:
    """Read the finest level that a page can show. `scan_mpps` are the pixel sizes of the scans on the page.

    Raises `SlideError` where it is no trust layer of wsisr, or damaged.
    """
    metadata = read_derived_metadata(path)
    region = parse_source_region(metadata, scan_mpps)
    if region is None or "calibration" not in metadata:
        raise SlideError(f"{path}: is no trust layer of wsisr, or a damaged one; upscale --trust writes such")
    with open_tiff(path) as tiff:
        levels = tiff.series[0].levels
        number = next((n for n, level in enumerate(levels) if max(level.shape) <= MAX_TRUST_SIDE_PX), None)
        if number is None or any(level.dtype != np.uint8 or len(level.shape) != 2 for level in levels):
            raise SlideError(f"{path}: is no trust layer of wsisr; upscale --trust writes such")
        bounds = np.asarray(levels[number].asarray(), np.uint8)
    cell_um = region.mpp * CELL_PX * 2**number
    extent = (region.left, region.top, region.left + bounds.shape[1] * cell_um, region.top + bounds.shape[0] * cell_um)
    return TrustLayer(path.name, bounds, extent, metadata.get("tissue", ""))
