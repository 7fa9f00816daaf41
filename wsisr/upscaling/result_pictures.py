"""Pictures of a finished result: an overview with its tissue, and windows before and after.

They are read from the slide and the result when the run is over, and their number and size are bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

import cv2
import numpy as np

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides.region import SlideRegion
from wsisr.tissue import find_tissue
from wsisr.tissue.map import BoolMask, TissueMap
from wsisr.upscaling.request import UpscaleRequest
from wsisr.upscaling.result_places import (
    Place,
    choose_places,
    find_worst_window,
    list_windows,
    measure_place,
    window_side,
)
from wsisr.upscaling.result_view import ResultView, open_result_view

if TYPE_CHECKING:
    from wsisr.upscaling.result_trust import TrustOverlay

OVERVIEW_PX = 720
"""Longer side of the overview."""

MAX_OUTLINES, MAX_CORNERS = 200, 6000
"""Outlines of tissue that are drawn, the largest first, and their corners."""

Outline = list[tuple[int, int]]
"""Corners of a closed line, x and y in px of the overview."""


@dataclass(frozen=True, slots=True)
class PlacePictures:
    """One window of a result, before and after."""

    place: Place
    before: Rgb
    """(h, w, 3): the input's own pixels."""
    bicubic: Rgb
    """(h*scale, w*scale, 3)"""
    after: Rgb
    """(h*scale, w*scale, 3): the result, as it is stored."""
    truth: Rgb | None
    """(h*scale, w*scale, 3): what the slide itself shows, where it was scanned that finely."""


@dataclass(frozen=True, slots=True)
class ResultPictures:
    """All pictures of a result. Boxes are in px of the region, which is `scale` times smaller than the result."""

    region_size: Size
    scale: int
    overview: Rgb
    """(h, w, 3): all of the result."""
    outlines: list[Outline]
    """The borders of the tissue; empty where all is tissue."""
    worst_tiles: list[Box]
    sampled_windows: int
    """Windows in which added detail was measured."""
    most_detail: list[PlacePictures] = field(default_factory=list)
    least_trust: list[PlacePictures] = field(default_factory=list)
    trust: TrustOverlay | None = None
    """None without a trust layer."""


def read_result_pictures(
    request: UpscaleRequest, worst_tiles: Sequence[Box] = (), *, places: int = 3, finds_tissue: bool = True
) -> ResultPictures:
    """Read the pictures of a finished result: of `places` windows with most added detail, and as many of least trust.

    These are what the trust layer doubts most, if there is one; else the worst of `worst_tiles`, in px of the result,
    and without these of the sampled windows. Raises `WsisrError` if slide, result, layer or mask cannot be read.
    """
    with open_result_view(request) as view:
        tissue = find_tissue(view.scan, request.tissue, request.tissue_origin) if finds_tissue else None
        size, side = view.region.size, window_side(view.scale)
        cells = None if tissue is None else _mask_region(tissue, view.region, side)
        windows = [measure_place(view, box) for box in list_windows(size, side, cells)]
        tiles = [_shrink_box(tile, view.scale, size) for tile in worst_tiles]
        doubtful, overlay = _read_trust(request, view, places)
        if not doubtful:
            worst = [measure_place(view, find_worst_window(view, tile)) for tile in tiles if tile.size.pixel_count]
            doubtful = list(choose_places(sorted(worst or windows, key=lambda place: -place.error), places))
        detailed = choose_places(
            sorted(windows, key=lambda place: -place.detail), places, [place.box for place in doubtful]
        )
        overview = _read_overview(view)
        return ResultPictures(
            region_size=size,
            scale=view.scale,
            overview=overview,
            outlines=[] if tissue is None else trace_outlines(_mask_overview(tissue, view.region, overview)),
            worst_tiles=tiles,
            sampled_windows=len(windows),
            most_detail=[_read_place(view, place) for place in detailed],
            least_trust=[_read_place(view, place) for place in doubtful],
            trust=overlay,
        )


def _read_trust(request: UpscaleRequest, view: ResultView, places: int) -> tuple[list[Place], TrustOverlay | None]:
    """Return the windows that the trust layer doubts most, if it knows any, and the layer itself, if there is one."""
    files = request.trust_files
    if files is None or not files.are_written:
        return [], None
    from wsisr.upscaling.result_trust import (  # noqa: PLC0415 - only with a layer
        draw_overview,
        find_doubtful_windows,
        read_bounds,
    )

    size = view.region.size
    bounds, cell_px = read_bounds(files.layer, size)
    windows = find_doubtful_windows(bounds, cell_px, window_side(view.scale), size)
    doubtful = [replace(measure_place(view, window.box), bound=window.bound) for window in islice(windows, places)]
    return doubtful, draw_overview(bounds, cell_px, OVERVIEW_PX)


def _read_overview(view: ResultView) -> Rgb:
    """Read all of the result, shrunk so that its longer side is at most `OVERVIEW_PX`."""
    info = view.result.info
    factor = max(1.0, max(info.size.width, info.size.height) / OVERVIEW_PX)
    number = info.find_coarsest_level(lambda level: level.downsample <= factor)
    overview = SlideRegion(view.result, number, max(1.0, factor / info.levels[number].downsample))
    return overview.read(Box.from_size(overview.size))


def trace_outlines(mask: BoolMask) -> list[Outline]:
    """Return the borders of a mask, those of holes too; empty where all of it is one."""
    if mask.all():
        return []
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outlines: list[Outline] = []
    corners = 0
    for contour in sorted(contours, key=cv2.contourArea, reverse=True)[:MAX_OUTLINES]:
        points = cv2.approxPolyDP(contour, 0.8, True)[:, 0].tolist()
        corners += len(points)
        if corners > MAX_CORNERS:
            break
        if len(points) > 2:
            outlines.append([(x, y) for x, y in points])
    return outlines


def _read_place(view: ResultView, place: Place) -> PlacePictures:
    box = place.box
    return PlacePictures(
        place, view.read_input(box), view.read_bicubic(box), view.read_output(box), view.read_truth(box)
    )


def _mask_region(tissue: TissueMap, region: SlideRegion, cell_px: int) -> BoolMask:
    """Return which cells of a region, from its top left, hold tissue."""
    readable = region.readable_box
    return tissue.mask_cells(readable.size, Box.from_size(region.size).relative_to(readable), cell_px)


def _mask_overview(tissue: TissueMap, region: SlideRegion, overview: Rgb) -> BoolMask:
    """Return which pixels of the overview show tissue, (h, w)."""
    height, width = overview.shape[:2]
    cells = _mask_region(tissue, region, max(1, -(-max(region.size.width, region.size.height) // OVERVIEW_PX)))
    return np.asarray(cv2.resize(cells.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)) > 0


def _shrink_box(box: Box, scale: int, size: Size) -> Box:
    """Return a box of the result in px of its region, of a size."""
    shrunk = Box(box.left // scale, box.top // scale, -(-box.right // scale), -(-box.bottom // scale))
    return shrunk.intersection(Box.from_size(size))
