"""The trust layer of a finished result: the bound of every cell's error, as a small pyramid beside it.

It is computed from slide and result alone, block by block, once the result has its name: no pixel of the result
depends on it, and a run that was stopped in between computes it anew. Memory is that of one block, and a few bytes for
64 px of the slide.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from wsisr.files import write_atomically
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import pad_by_repetition
from wsisr.progress import Progress
from wsisr.slides import Slide
from wsisr.slides.region import SlideRegion
from wsisr.upscaling.trust.features import (
    CELL_PX,
    FEATURE_RADIUS_PX,
    CellFeatures,
    find_light_cells,
    measure_cell_features,
)
from wsisr.upscaling.trust.predictor import TrustPredictor
from wsisr.upscaling.trust.summary import NOT_CALIBRATED, BoundPlane, CellMaps
from wsisr.writing.layouts.ome_xml import build_plane_xml

BLOCK_PX = 512
"""Side of a block in px of the slide."""

_MARGIN_PX = -(-FEATURE_RADIUS_PX // CELL_PX) * CELL_PX
"""Read around a block: whole cells, and at least what features depend on."""

_SMALLEST_LEVEL_PX, _TILE_PX = 256, 256


def count_cells(size: Size) -> Size:
    """Return columns and rows of cells, the last of which may be narrower."""
    return Size(-(-size.width // CELL_PX), -(-size.height // CELL_PX))


def bound_result(region: SlideRegion, result: Slide, predictor: TrustPredictor, cells: CellMaps) -> Iterator[Progress]:
    """Fill the maps of all cells of a region, from it and its result; yields the blocks done."""
    whole = Box.from_size(region.size)
    blocks = [
        Box(left, top, left + BLOCK_PX, top + BLOCK_PX).intersection(whole)
        for top in range(0, whole.height, BLOCK_PX)
        for left in range(0, whole.width, BLOCK_PX)
    ]
    yield Progress("trust", 0, len(blocks))
    for done, block in enumerate(blocks, 1):
        rows = slice(block.top // CELL_PX, -(-block.bottom // CELL_PX))
        columns = slice(block.left // CELL_PX, -(-block.right // CELL_PX))
        features = _measure_block(region, result, block)
        cells.bounds[rows, columns] = predictor.bound_errors(features)
        cells.is_glass[rows, columns] = find_light_cells(features)
        yield Progress("trust", done, len(blocks))


def write_trust_layer(
    path: Path, bounds: BoundPlane, mpp: float, metadata: Mapping[str, str], *, overwrite: bool
) -> None:
    """Write a pyramid of one channel as OME-TIFF, whole or not at all; a cell of the slide is `mpp` um wide.

    Each coarser level has the largest bound of 2 x 2 cells, so that no doubt gets lost from afar.
    """
    levels = [bounds]
    while max(levels[-1].shape) > _SMALLEST_LEVEL_PX:
        levels.append(halve_bounds(levels[-1]))
    size = Size(bounds.shape[1], bounds.shape[0])
    title = "bound of the error in grey levels, 255 unknown; research use only"
    options: dict[str, Any] = {
        "photometric": "minisblack",
        "compression": "zlib",
        "tile": (_TILE_PX, _TILE_PX),
        "metadata": None,
    }
    file = BytesIO()
    with tifffile.TiffWriter(file, bigtiff=bounds.nbytes > 1 << 31) as writer:
        description = build_plane_xml(size, mpp, title, metadata)
        writer.write(levels[0], subifds=len(levels) - 1, description=description, **options)
        for level in levels[1:]:
            writer.write(level, subfiletype=1, **options)
    write_atomically(path, [file.getvalue()], overwrite=overwrite)


def write_doubtful_areas(
    path: Path, polygons: list[list[list[tuple[int, int]]]], doubtful_from: int, *, overwrite: bool
) -> None:
    """Write polygons, each a list of rings in px of the result, as annotations that QuPath opens on the result."""
    properties = {
        "objectType": "annotation",
        "classification": {"name": f"error may exceed {doubtful_from} grey levels", "color": [255, 140, 0]},
    }
    features = [
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": rings}, "properties": properties}
        for rings in polygons
    ]
    text = json.dumps({"type": "FeatureCollection", "features": features})
    write_atomically(path, [text.encode()], overwrite=overwrite)


def _measure_block(region: SlideRegion, result: Slide, block: Box) -> CellFeatures:
    """Return the features of a block's cells; the last of them may be cut off by the region's edge."""
    box = block.expand(_MARGIN_PX).intersection(Box.from_size(region.size))
    low = region.read(box)
    scale = result.info.levels[0].size.width // region.size.width
    high = result.read(box * scale, 0)
    below, right = -box.height % CELL_PX, -box.width % CELL_PX
    features = measure_cell_features(
        pad_by_repetition(low, below, right), pad_by_repetition(high, below * scale, right * scale)
    )
    top, left = (block.top - box.top) // CELL_PX, (block.left - box.left) // CELL_PX
    cells = count_cells(block.size)
    return features[top : top + cells.height, left : left + cells.width]


def halve_bounds(bounds: BoundPlane) -> BoundPlane:
    """Return the largest known bound of 2 x 2 cells; 255 where none is known: (h, w) to (ceil(h/2), ceil(w/2))."""
    known = np.where(bounds == NOT_CALIBRATED, 0, bounds + np.uint8(1))  # 0 is unknown here
    padded = np.pad(known, [(0, side % 2) for side in bounds.shape])
    halved = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).max(axis=(1, 3))
    return np.asarray(np.where(halved == 0, NOT_CALIBRATED, halved - 1), np.uint8)
