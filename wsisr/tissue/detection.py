"""Finding tissue on a low level of a slide. Glass must be proven; whatever is not glass is tissue.

Glass is bright, colourless and without texture, all three measured against the slide's own glass. What is left is
closed (fat is a net around empty vacuoles, and all of it is tissue) and grown by a margin.
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
from wsisr.tissue.map import Flags, TissueMap, everywhere

PITCH_UM = 4.0
"""Pixel pitch that is looked at, in um/px: a nucleus is still a pixel or two, noise and JPEG blocks are not."""

MOST_PX = 32_000_000
"""Of the picture that is looked at; larger slides are looked at more coarsely. Memory: about 12 bytes for each."""

UNKNOWN_MPP = 0.5
"""Taken for level 0 where the slide does not say."""

VACUOLE_UM = 200.0
"""Gaps up to this width within tissue are tissue: the largest fat cells."""

SPECK_UM2 = 600.0
"""Largest area that is taken for dust or noise when gaps are closed: some 40 px, as much as two or three cells."""

MARGIN_UM = 32.0
"""By which tissue is grown."""

DARKEST_GLASS, LARGEST_TINT, ROUGHEST_GLASS = 190, 16, 6
"""Grey levels that anything taken for the slide's own glass has at the least, and at the most."""

OPEN_PX = 7
"""Side of the smallest patch that speaks for the slide's glass, as 28 um; a lumen in tissue is no such patch."""

FEWEST_VOTES = 0.002
"""Share of a slide that must look like glass before any glass is believed in."""


@dataclass(frozen=True, slots=True)
class Glass:
    """A slide's own glass, and how far from it a pixel may be and still be glass."""

    colour: tuple[int, int, int]
    darker: int
    """Grey levels below the colour."""
    texture: int
    """Grey levels between neighbours."""


def detect(slide: Slide) -> TissueMap:
    """Looks at a level of about 4 um/px. Raises `SlideError` where it cannot be decoded."""
    picture, pitch = overview(slide)
    glass = glass_of(picture)
    if glass is None:
        return everywhere(f"all of it: no glass was found at {pitch:.3g} um/px")
    return TissueMap(grown(~is_glass(picture, glass), pitch), f"found at {pitch:.3g} um/px")


def overview(slide: Slide) -> tuple[Rgb, float]:
    """The whole slide, (h, w, 3), and its pixel pitch in um/px; from the coarsest level that is fine enough.

    Read in bands: memory is that of the picture and of a band of the level.
    """
    info = slide.info
    base = info.mpp or UNKNOWN_MPP
    wanted = max(PITCH_UM, base * math.sqrt(info.size.pixels / MOST_PX))
    number = max((n for n, level in enumerate(info.levels) if base * level.downsample <= 1.05 * wanted), default=0)
    level = info.levels[number]
    factor = max(1, int(1.05 * wanted / (base * level.downsample)))
    height = -(-level.size.height // factor)
    step = max(1, 4_000_000 // (level.size.width * factor))
    bands = [range(row * factor, min(row + step, height) * factor) for row in range(0, height, step)]
    return np.concatenate([_band(slide, number, rows, factor) for rows in bands]), base * level.downsample * factor


def glass_of(picture: Rgb) -> Glass | None:
    """The slide's glass: of the colours of open flat ground, the brightest that is common. None where there is none."""
    tint = picture.max(axis=2) - picture.min(axis=2)
    blank = picture.min(axis=2) == WHITE
    flat = (picture.min(axis=2) >= DARKEST_GLASS) & (tint <= LARGEST_TINT) & (texture(picture) <= ROUGHEST_GLASS)
    votes = cv2.erode((flat & ~blank).astype(np.uint8), np.ones((OPEN_PX, OPEN_PX), np.uint8)).astype(bool)
    if votes.mean() < FEWEST_VOTES:
        return Glass((WHITE, WHITE, WHITE), 4, 3) if blank.mean() >= FEWEST_VOTES else None
    return _common(picture[votes].astype(np.int16), float(np.median(texture(picture)[votes])))


def _common(pixels: npt.NDArray[np.int16], roughness: float) -> Glass:
    """(n, 3) that look like glass: around the brightest lightness within 2 of which lies a tenth of them.

    Pale tissue may look like glass and be more common; glass is brighter.
    """
    light = pixels.sum(axis=1) // 3
    votes = np.bincount(light, minlength=256)
    top = int(np.flatnonzero(np.convolve(votes, np.ones(5), "same") >= 0.1 * len(pixels))[-1])
    peak = max(0, top - 5) + int(np.argmax(votes[max(0, top - 5) : top + 1]))
    own = pixels[np.abs(light - peak) <= 3]
    red, green, blue = (int(value) for value in np.median(own, axis=0))
    spread = float(np.median(np.abs(own - (red, green, blue)).max(axis=1)))
    return Glass((red, green, blue), darker=round(4 + 2 * spread), texture=round(3 + roughness))


def is_glass(picture: Rgb, glass: Glass) -> Flags:
    """(h, w, 3) to (h, w). Tissue only ever takes light away: what is brighter than glass is glass."""
    capped = np.minimum(picture, np.array(glass.colour, np.uint8))
    darkest = np.max(np.array(glass.colour, np.uint8) - capped, axis=2)
    found: Flags = (darkest <= glass.darker) & (texture(capped) <= glass.texture)
    return found


def texture(picture: Rgb) -> npt.NDArray[np.uint8]:
    """(h, w, 3) to (h, w): grey levels between the extremes of 3 x 3 px, of the colour in which they differ most."""
    around = np.ones((3, 3), np.uint8)
    found: npt.NDArray[np.uint8] = np.max(cv2.dilate(picture, around) - cv2.erode(picture, around), axis=2)
    return found


def grown(tissue: Flags, pitch: float) -> Flags:
    """Gaps closed and edges moved outwards; the picture's border counts as no edge.

    Specks stay, with their margin, but do not close gaps: dust here and there would make tissue of all the glass.
    """
    if not tissue.any():
        return tissue
    return (
        _distance(tissue | _closed(_large(tissue, SPECK_UM2 / pitch**2), VACUOLE_UM / 2 / pitch)) <= MARGIN_UM / pitch
    )


def _closed(tissue: Flags, reach: float) -> Flags:
    """Dilation by `reach` px, then erosion by as much."""
    wide = _distance(tissue) <= reach
    return wide if wide.all() else _distance(~wide) > reach


def _large(tissue: Flags, area: float) -> Flags:
    """What hangs together over more than `area` px."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(tissue.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] > area
    large[0] = False
    return np.asarray(large[labels], bool)


def _band(slide: Slide, number: int, rows: range, factor: int) -> Rgb:
    """Rows of a level, in its px, shrunk by a whole factor; what the factor leaves over at the edges is white."""
    width = -(-slide.info.levels[number].size.width // factor)
    pixels = slide.read(Box(0, rows.start, width * factor, rows.stop), number)
    if factor == 1:
        return pixels
    return np.asarray(cv2.resize(pixels, (width, len(rows) // factor), interpolation=cv2.INTER_AREA), np.uint8)


def _distance(flags: Flags) -> npt.NDArray[np.float32]:
    """To the nearest True, in px."""
    if not flags.any():
        return np.full(flags.shape, np.inf, np.float32)
    return np.asarray(cv2.distanceTransform((~flags).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5), np.float32)
