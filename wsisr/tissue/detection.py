"""Tissue detection on a low level of a slide. Glass has to be proven; everything else is tissue.

Glass is bright, colourless and without texture, each measured relative to the slide's own glass. The remaining area is
closed (fat is a net around empty vacuoles, and all of it is tissue) and expanded by a margin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import WHITE, Rgb
from wsisr.slides import Slide
from wsisr.tissue.map import BoolMask, TissueMap, make_full_map

DETECTION_MPP = 4.0
"""Pixel size of the overview in um/px: a nucleus is still a pixel or two, noise and JPEG blocks are smaller."""

MAX_OVERVIEW_PX = 32_000_000
"""Most pixels of the overview; larger slides get a coarser one. Memory: about 12 bytes for each pixel."""

OVERVIEW_BAND_PX = 4_000_000
"""Pixels of a level that are read at a time."""

ASSUMED_MPP = 0.5
"""Pixel size of level 0 in um/px if the slide does not record it."""

MAX_VACUOLE_UM = 200.0
"""Gaps within tissue up to this width are tissue: the size of the largest fat cells."""

MAX_SPECK_UM2 = 600.0
"""Largest area that counts as dust or noise when gaps are closed: about 40 px, the area of two or three cells."""

TISSUE_MARGIN_UM = 32.0
"""Margin by which tissue is expanded."""

MIN_GLASS_LEVEL, MAX_GLASS_TINT, MAX_GLASS_TEXTURE = 190, 16, 6
"""Limits in grey levels of candidates for the slide's own glass: least brightness, most tint, most texture."""

MIN_GLASS_PATCH_PX = 7
"""Side of the smallest patch (28 um) that is evidence of glass; a lumen in tissue is smaller."""

MIN_GLASS_FRACTION = 0.002
"""Share of a slide that has to look like glass for glass to be accepted at all."""


@dataclass(frozen=True, slots=True)
class GlassColour:
    """The colour of a slide's own glass and how far a pixel of glass may deviate from it."""

    colour: tuple[int, int, int]
    max_darker: int
    """Largest difference below the colour, in grey levels."""
    max_texture: int
    """Largest difference between neighbouring pixels, in grey levels."""


def detect_tissue(slide: Slide) -> TissueMap:
    """Detect tissue at about 4 um/px. Raises `SlideError` if the slide cannot be decoded."""
    picture, mpp = read_overview(slide)
    glass = find_glass(picture)
    if glass is None:
        return make_full_map(f"all of it: no glass was found at {mpp:.3g} um/px")
    return TissueMap(close_and_expand(~find_glass_pixels(picture, glass), mpp), f"found at {mpp:.3g} um/px")


def read_overview(slide: Slide) -> tuple[Rgb, float]:
    """Read the whole slide as (h, w, 3), with its pixel size in um/px, from the coarsest level that is fine enough.

    Memory: the picture and one band of the level.
    """
    info = slide.info
    base_mpp = info.mpp or ASSUMED_MPP
    target_mpp = 1.05 * max(DETECTION_MPP, base_mpp * math.sqrt(info.size.pixel_count / MAX_OVERVIEW_PX))
    number = info.find_coarsest_level(lambda level: base_mpp * level.downsample <= target_mpp)
    size, level_mpp = info.levels[number].size, base_mpp * info.levels[number].downsample
    factor = max(1, int(target_mpp / level_mpp))
    height = -(-size.height // factor)
    band_height = max(1, OVERVIEW_BAND_PX // (size.width * factor))
    bands = [range(top * factor, min(top + band_height, height) * factor) for top in range(0, height, band_height)]
    return np.concatenate([_read_rows(slide, number, rows, factor) for rows in bands]), level_mpp * factor


def find_glass(picture: Rgb) -> GlassColour | None:
    """Return the slide's glass: the brightest common colour of open, flat areas; None if there are none."""
    darkest, texture = picture.min(axis=2), local_range(picture)
    colourless = picture.max(axis=2) - darkest <= MAX_GLASS_TINT
    unscanned = darkest == WHITE
    flat = (darkest >= MIN_GLASS_LEVEL) & colourless & (texture <= MAX_GLASS_TEXTURE)
    patch = np.ones((MIN_GLASS_PATCH_PX, MIN_GLASS_PATCH_PX), np.uint8)
    candidates = cv2.erode((flat & ~unscanned).astype(np.uint8), patch).astype(bool)
    if candidates.mean() < MIN_GLASS_FRACTION:
        return GlassColour((WHITE, WHITE, WHITE), 4, 3) if unscanned.mean() >= MIN_GLASS_FRACTION else None
    return _brightest_common_colour(picture[candidates].astype(np.int16), float(np.median(texture[candidates])))


def _brightest_common_colour(pixels: npt.NDArray[np.int16], roughness: float) -> GlassColour:
    """Return the glass among (n, 3) candidates: the brightest lightness with a tenth of them within 2 grey levels.

    Pale tissue may look like glass and be more common, but glass is brighter.
    """
    lightness = pixels.sum(axis=1) // 3
    histogram = np.bincount(lightness, minlength=256)
    top = int(np.flatnonzero(np.convolve(histogram, np.ones(5), "same") >= 0.1 * len(pixels))[-1])
    peak = max(0, top - 5) + int(np.argmax(histogram[max(0, top - 5) : top + 1]))
    glass = pixels[np.abs(lightness - peak) <= 3]
    red, green, blue = (int(value) for value in np.median(glass, axis=0))
    spread = float(np.median(np.abs(glass - (red, green, blue)).max(axis=1)))
    return GlassColour((red, green, blue), max_darker=round(4 + 2 * spread), max_texture=round(3 + roughness))


def find_glass_pixels(picture: Rgb, glass: GlassColour) -> BoolMask:
    """Find glass: (h, w, 3) to (h, w). Tissue only absorbs light, so anything brighter than glass is glass too."""
    capped = np.minimum(picture, np.array(glass.colour, np.uint8))
    darkening = np.max(np.array(glass.colour, np.uint8) - capped, axis=2)
    is_glass: BoolMask = (darkening <= glass.max_darker) & (local_range(capped) <= glass.max_texture)
    return is_glass


def local_range(picture: Rgb) -> npt.NDArray[np.uint8]:
    """Return maximum minus minimum within 3 x 3 px, of the channel with the largest: (h, w, 3) to (h, w)."""
    neighbourhood = np.ones((3, 3), np.uint8)
    ranges = cv2.dilate(picture, neighbourhood) - cv2.erode(picture, neighbourhood)
    return np.asarray(np.max(ranges, axis=2), np.uint8)


def close_and_expand(tissue: BoolMask, mpp: float) -> BoolMask:
    """Close gaps and move edges outwards; the border of the picture is not an edge.

    Specks are kept, with their margin, but close no gaps: else scattered dust would turn all the glass into tissue.
    """
    if not tissue.any():
        return tissue
    without_specks = _remove_specks(tissue, MAX_SPECK_UM2 / mpp**2)
    closed = tissue | _close_gaps(without_specks, MAX_VACUOLE_UM / 2 / mpp)
    return _distance_to_nearest(closed) <= TISSUE_MARGIN_UM / mpp


def _close_gaps(tissue: BoolMask, radius: float) -> BoolMask:
    """Dilate by `radius` px, then erode by as much."""
    dilated = _distance_to_nearest(tissue) <= radius
    return dilated if dilated.all() else _distance_to_nearest(~dilated) > radius


def _remove_specks(tissue: BoolMask, area: float) -> BoolMask:
    """Keep connected components of more than `area` px."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(tissue.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] > area
    large[0] = False  # the background
    return np.asarray(large[labels], bool)


def _read_rows(slide: Slide, number: int, rows: range, factor: int) -> Rgb:
    """Read rows of a level and shrink them by a whole factor; beyond the edges of the level they are white."""
    width = -(-slide.info.levels[number].size.width // factor)
    pixels = slide.read(Box(0, rows.start, width * factor, rows.stop), number)
    if factor == 1:
        return pixels
    return np.asarray(cv2.resize(pixels, (width, len(rows) // factor), interpolation=cv2.INTER_AREA), np.uint8)


def _distance_to_nearest(flags: BoolMask) -> npt.NDArray[np.float32]:
    """Return the distance to the nearest True, in px."""
    if not flags.any():
        return np.full(flags.shape, np.inf, np.float32)
    return np.asarray(cv2.distanceTransform((~flags).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5), np.float32)
