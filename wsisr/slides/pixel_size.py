"""Pixel size in um/px (mpp): from the numbers that a file records to one that can be relied on, or None.

The size counts as not recorded where an axis is missing, where it lies outside 0.01 to 20 um/px (TIFF writers put
72 dpi, 353 um/px, where they know nothing), or where one axis is more than twice the other. Axes within 2 % of each
other count as square pixels, of the mean size. In between, the coarser axis counts, and the finer one has to be shrunk
to it (see `SquarePixelSlide`), because super-resolution and every viewer assume square pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from wsisr.imaging.units import UM_AT_1X, is_unknown_unit

FINEST_MPP, COARSEST_MPP = 0.01, 20.0

_USUAL_MPP = (0.05, 5.0)
"""Range of level 0 of slide scanners in um/px, with some to spare on both sides; a warning is given outside it."""

_MPP_TIMES_OBJECTIVE = (3.0, 18.0)
"""Range of um/px times magnification: 10 by convention, 4.4 for scanners with a fine camera, 20 for an export at half
the size that kept the objective of its source. A warning is given outside it."""

_OBJECTIVES = (1.0, 150.0)

_CONVENTION_TOLERANCE = 7 / 6
"""Factor by which scanners differ, up or down, from the convention that 20x is 0.5 um/px."""

_GIVEN_TOLERANCE = 0.1
"""Relative difference between a given and a recorded pixel size from which a warning is given."""

_SQUARE_TOLERANCE = 0.02
"""Relative difference between both axes up to which pixels count as square."""

_MAX_PIXEL_ASPECT = 2.0
"""Largest ratio of the axes; beyond it the recorded numbers are a mistake."""

_MAX_UNIT_CHARACTERS = 40
"""Characters of a unit that a warning repeats; no name of one is longer."""

_UM_PER_RESOLUTION_UNIT = {2: 25_400.0, 3: 10_000.0}
"""Keys are TIFF's ResolutionUnit: 2 is the inch, 3 the centimetre."""


def is_plausible_mpp(mpp: float) -> bool:
    """Whether a pixel of a microscope slide can have that size; false for NaN."""
    return FINEST_MPP <= mpp <= COARSEST_MPP


@dataclass(frozen=True, slots=True)
class PixelSize:
    """Pixel size as a file records it."""

    mpp: float | None = None
    """um/px of both axes, or of the coarser one; None where the file records none that can be relied on."""
    pixel_aspect: tuple[float, float] = (1.0, 1.0)
    """Stored pixels per `mpp` um along x and along y; above 1 on the finer axis."""


def derive_pixel_size(x_mpp: float | None, y_mpp: float | None) -> PixelSize:
    """Return the pixel size for the um/px of two axes."""
    if x_mpp is None or y_mpp is None or not (is_plausible_mpp(x_mpp) and is_plausible_mpp(y_mpp)):
        return PixelSize()
    mean, coarser = (x_mpp + y_mpp) / 2, max(x_mpp, y_mpp)
    if abs(x_mpp - y_mpp) <= _SQUARE_TOLERANCE * mean:
        return PixelSize(mean)
    if coarser > _MAX_PIXEL_ASPECT * min(x_mpp, y_mpp):
        return PixelSize()
    return PixelSize(coarser, (coarser / x_mpp, coarser / y_mpp))


def estimate_mpp(objective: float | None) -> float | None:
    """Estimate um/px by the convention that 20x is 0.5 um/px; None where the objective is unknown or impossible."""
    is_possible = objective is not None and _OBJECTIVES[0] <= objective <= _OBJECTIVES[1]
    return UM_AT_1X / objective if is_possible and objective else None


def correct_objective(mpp: float, recorded: float | None) -> float | None:
    """Return the recorded magnification, or that of a given pixel size which contradicts it.

    A user who corrects the pixel size says that the record is wrong. QuPath and others measure by the pixel size, but
    show the magnification, and some programs choose levels by it: the two must not contradict each other. Where no
    magnification is recorded, none is made up.
    """
    if not recorded or 1 / _CONVENTION_TOLERANCE <= mpp * recorded / UM_AT_1X <= _CONVENTION_TOLERANCE:
        return recorded
    return float(f"{UM_AT_1X / mpp:.3g}")


def check_given_mpp(given: float, recorded: float | None) -> Iterator[str]:
    """Warn of a given pixel size that is far from the recorded one."""
    if recorded and abs(given / recorded - 1) > _GIVEN_TOLERANCE:
        yield f"{given:.4g} um/px was given, where the file records {recorded:.4g}; the given one counts"


def check_recorded_mpp(mpp: float, objective: float | None) -> Iterator[str]:
    """Warn of a recorded pixel size that is unlikely for a scanner, or for the recorded objective."""
    if not _USUAL_MPP[0] <= mpp <= _USUAL_MPP[1]:
        yield f"{mpp:.4g} um/px is what no slide scanner has at level 0; if you know better, give --mpp"
    elif objective and not _MPP_TIMES_OBJECTIVE[0] <= mpp * objective <= _MPP_TIMES_OBJECTIVE[1]:
        yield (
            f"{mpp:.4g} um/px does not go with a {objective:g}x objective, which has about {UM_AT_1X / objective:.2g}; "
            "if you know better, give --mpp"
        )


def check_unit(unit: str | None) -> Iterator[str]:
    """Warn of a pixel size in a unit that is not understood, and that is therefore not used."""
    if unit is not None and is_unknown_unit(unit):
        yield f"its pixel size is in {unit[:_MAX_UNIT_CHARACTERS]!r}, a unit that is not understood (--mpp)"


def parse_number(text: str | None) -> float | None:
    """Parse a number from a file's metadata; None where the text is no finite number.

    Some scanners write the comma of their country, as OpenSlide knows, too.
    """
    try:
        value = math.nan if text is None else float(text.replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def convert_resolution_to_mpp(resolution: object, unit: object) -> float | None:
    """Convert TIFF's XResolution or YResolution, a ratio of pixels per unit, to um/px; None where it means nothing."""
    if not (isinstance(resolution, tuple) and len(resolution) == 2 and isinstance(unit, int)):
        return None
    pixels, units = resolution
    length = _UM_PER_RESOLUTION_UNIT.get(unit)
    return None if length is None or not pixels else length * units / pixels
