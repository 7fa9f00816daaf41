"""Units of digital pathology: lengths in um, pixel size in um/px and the magnification that corresponds to it."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

_UM_PER_PREFIX = {
    "pico": 1e-6,
    "nano": 1e-3,
    "micro": 1.0,
    "milli": 1e3,
    "centi": 1e4,
    "deci": 1e5,
    "": 1e6,
    "kilo": 1e9,
}

_UM_PER_SYMBOL = {
    **{"pm": 1e-6, "nm": 1e-3, "um": 1.0, "\u03bcm": 1.0, "mm": 1e3, "cm": 1e4, "dm": 1e5, "m": 1e6, "km": 1e9},
    **{"\u03bc": 1.0, "mum": 1.0, "mcm": 1.0, "micron": 1.0},
    **{"a": 1e-4, "\xe5": 1e-4, "angstrom": 1e-4, "\xe5ngstrom": 1e-4},
    **{"in": 25_400.0, "inch": 25_400.0, "inches": 25_400.0, '"': 25_400.0, "thou": 25.4, "mil": 25.4},
    **{"ft": 304_800.0, "foot": 304_800.0, "feet": 304_800.0, "yd": 914_400.0, "yard": 914_400.0},
}
"""Keys are as `_normalize_unit` returns them; the Greek letter stands for the micro sign too."""

_UM_PER_LENGTH_UNIT = _UM_PER_SYMBOL | {
    f"{prefix}{metre}": um for prefix, um in _UM_PER_PREFIX.items() for metre in ("meter", "metre")
}

_LONGEST_SYMBOL = 3
"""Letters of the longest symbol; longer names may be plurals, and `ms` is none."""

_NO_LENGTHS = (
    *("", "pixel", "pixels", "px", "unit", "units", "referenceframe"),
    *("null", "none", "unknown", "unitless", "dimensionless"),
)
"""Units that stand for none: the numbers count pixels or nothing."""

UM_AT_1X = 10.0
"""Pixel size in um/px at a magnification of 1, by convention: 20x is 0.5 um/px."""


def index_of_nearest_magnification(mpp: float, magnifications: Sequence[float]) -> int | None:
    """Return the index of the magnification nearest to a pixel size; None if the size is 0 (unknown) or none is near.

    Near means within a factor of the square root of 2.
    """
    distances = [abs(math.log2(mpp * magnification / UM_AT_1X)) for magnification in magnifications] if mpp > 0 else []
    closest = min(distances, default=math.inf)
    return distances.index(closest) if closest <= 0.5 else None


def parse_length_unit(name: str) -> float | None:
    """Return the um in a unit of length, by the names that formats allow and programs write; None for any other."""
    if name.strip() == "Mm":  # OME's megametre, which a reader of any case would take for the millimetre
        return 1e12
    unit = _normalize_unit(name)
    singular = unit.removesuffix("s") if len(unit) > _LONGEST_SYMBOL else unit
    return _UM_PER_LENGTH_UNIT.get(unit, _UM_PER_LENGTH_UNIT.get(singular))


def is_unknown_unit(name: str) -> bool:
    """Whether a name seems to be that of a unit of length, and is not understood."""
    return parse_length_unit(name) is None and _normalize_unit(name) not in _NO_LENGTHS


def _normalize_unit(name: str) -> str:
    """Return a unit's name in small letters, without spaces and dots, with one letter for both micro signs.

    ImageJ escapes the sign as `\\u00B5`; programs that take UTF-8 for Latin-1 write a capital A with circumflex before
    it.
    """
    unescaped = name.replace("\\u00B5", "\xb5").replace("\\u00b5", "\xb5").replace("\xc2\xb5", "\xb5")
    folded = unicodedata.normalize("NFKC", unescaped).lower()
    return "".join(character for character in folded if character not in " .-_\t\0")
