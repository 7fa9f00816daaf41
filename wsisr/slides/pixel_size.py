"""Pixel pitch in um/px: from what a file records to a number that can be relied on, or None.

A pitch counts as not recorded where an axis is missing, where it lies outside 0.01 to 20 um/px (TIFF writers put
72 dpi, 353 um/px, where they know nothing), or where one axis has more than twice that of the other. Within 2 % it is
the mean. In between it is that of the coarser axis, and the finer one has to be shrunk to it (see `square`):
super-resolution and every viewer take pixels for square.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from wsisr.imaging.units import UM_AT_1X

FINEST, COARSEST = 0.01, 20.0

_USUAL = (0.05, 5.0)
"""What level 0 of a scanner has, in um/px, and some to spare on both sides."""

_PITCH_TIMES_OBJECTIVE = (3.0, 18.0)
"""um/px times magnification: 10 by convention, 4.4 for scanners with a fine camera, 20 for an export at half the size
that kept the objective of its source."""

_OBJECTIVES = (1.0, 150.0)

_SCANNERS_DIFFER = 7 / 6
"""By up to this factor, from the convention that 20x is 0.5 um/px."""

_GIVEN_DIFFERS = 0.1
_SQUARE_WITHIN = 0.02
_OBLONG_UP_TO = 2.0
"""One axis over the other; beyond it the numbers are no pitches, but a mistake."""

_UM_PER_RESOLUTION_UNIT = {2: 25_400.0, 3: 10_000.0}
"""TIFF's ResolutionUnit: 2 is the inch, 3 the centimetre."""


def is_plausible(pitch: float) -> bool:
    """Whether a pixel of a microscope slide can be that large; false for NaN."""
    return FINEST <= pitch <= COARSEST


@dataclass(frozen=True, slots=True)
class Pitch:
    """What a file records, in um/px."""

    mpp: float | None = None
    """Of both axes, or of the coarser one; None where it cannot be relied on."""
    finer: tuple[float, float] = (1.0, 1.0)
    """Pixels along x and along y that are as long as one of `mpp`; above 1 where that axis is the finer one."""


def pitch_of(x: float | None, y: float | None) -> Pitch:
    """What the pitches of two axes, in um/px, come to."""
    if x is None or y is None or not (is_plausible(x) and is_plausible(y)):
        return Pitch()
    mean, coarser = (x + y) / 2, max(x, y)
    if abs(x - y) <= _SQUARE_WITHIN * mean:
        return Pitch(mean)
    return Pitch(coarser, (coarser / x, coarser / y)) if coarser <= _OBLONG_UP_TO * min(x, y) else Pitch()


def estimated_pitch(objective: float | None) -> float | None:
    """By the convention that 20x is 0.5 um/px; None where the objective is not known or cannot be."""
    known = objective is not None and _OBJECTIVES[0] <= objective <= _OBJECTIVES[1]
    return UM_AT_1X / objective if known and objective else None


def objective_at(mpp: float, recorded: float | None) -> float | None:
    """The recorded magnification, unless it contradicts a pitch that was given: then the one this stands for.

    Who corrects a pitch says that the record is wrong. QuPath and others measure by the pitch, but show, and some
    programs choose levels by, the magnification, which must not tell of other pixels. None is made up.
    """
    if not recorded or 1 / _SCANNERS_DIFFER <= mpp * recorded / UM_AT_1X <= _SCANNERS_DIFFER:
        return recorded
    return float(f"{UM_AT_1X / mpp:.3g}")


def contradictions_of(given: float, recorded: float | None) -> Iterator[str]:
    """What a person should hear who gives a pitch that is far from the recorded one, in words."""
    if recorded and abs(given / recorded - 1) > _GIVEN_DIFFERS:
        yield f"{given:.4g} um/px was given, where the file records {recorded:.4g}; the given one counts"


def doubts_of(mpp: float, objective: float | None) -> Iterator[str]:
    """What makes a recorded pitch hard to believe, in words."""
    if not _USUAL[0] <= mpp <= _USUAL[1]:
        yield f"{mpp:.4g} um/px is what no slide scanner has at level 0; if you know better, give --mpp"
    elif objective and not _PITCH_TIMES_OBJECTIVE[0] <= mpp * objective <= _PITCH_TIMES_OBJECTIVE[1]:
        yield (
            f"{mpp:.4g} um/px does not go with a {objective:g}x objective, which has about {UM_AT_1X / objective:.2g}; "
            "if you know better, give --mpp"
        )


def number(text: str | None) -> float | None:
    """A finite number as a file spells it; None where it is none."""
    try:
        found = math.nan if text is None else float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def pitch_of_resolution(resolution: object, unit: object) -> float | None:
    """TIFF's XResolution, a ratio of pixels per unit, as um/px."""
    if not (isinstance(resolution, tuple) and len(resolution) == 2 and isinstance(unit, int)):
        return None
    pixels, units = resolution
    length = _UM_PER_RESOLUTION_UNIT.get(unit)
    return None if length is None or not pixels else length * units / pixels
