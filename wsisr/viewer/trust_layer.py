"""The trust layer of a result, as a picture to lay over it: how large its error may be in every place.

What is bounded by 5 grey levels is clear, from there on it goes from yellow over orange to dark red at 40. What is grey
is unknown, or no tissue: a place of which nothing is known must not look as if it could be trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from wsisr.errors import SlideError
from wsisr.slides.readers.tiff import open_tiff
from wsisr.upscaling.provenance import read_derived_metadata
from wsisr.upscaling.trust.features import CELL_PX
from wsisr.upscaling.trust.summary import NOT_CALIBRATED, BoundPlane, TrustFiles
from wsisr.viewer.placement import parse_source_region

TRUST_SUFFIX = ".trust.ome.tif"
"""End of the names of trust layers."""

MAX_TRUST_SIDE_PX = 4096
"""Longest side of the picture; of a larger layer, a coarser level is shown."""

_CLEAR, _DARKEST = 5, 40
"""Grey levels up to which a place is left clear, and from which on the colour gets no darker."""
_RAMP = np.array([(255, 237, 120, 70), (253, 141, 40, 150), (140, 10, 20, 200)], float)
"""Red, green, blue and opacity at the beginning, in the middle and at the end."""
_UNKNOWN = (120, 130, 140, 90)
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
        picture = Image.fromarray(self.bounds)
        colours = _list_colours()
        picture.putpalette(colours[:, :3].tobytes())
        file = BytesIO()
        picture.save(file, "PNG", transparency=colours[:, 3].tobytes())
        return file.getvalue()


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


def _list_colours() -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Return red, green, blue and opacity of each value of the layer, (256, 4)."""
    share = (np.arange(256) - _CLEAR) / (_DARKEST - _CLEAR)
    channels = [np.interp(share, np.linspace(0, 1, len(_RAMP)), _RAMP[:, channel]) for channel in range(4)]
    colours = np.stack(channels, axis=1)
    colours[: _CLEAR + 1, 3] = 0
    colours[NOT_CALIBRATED] = _UNKNOWN
    return np.asarray(np.rint(colours), np.uint8)
