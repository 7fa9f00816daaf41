"""Units of length by the names that formats allow and programs write."""

from __future__ import annotations

import pytest

from wsisr.imaging.units import is_unknown_unit, parse_length_unit

MICRO, MU = "\xb5", "\u03bc"


@pytest.mark.parametrize(
    "name",
    [
        *(f"{MICRO}m", f"{MU}m", "um", "UM", " um ", f"{MICRO}", f"{MICRO}M", f"\xc2{MICRO}m", r"\u00B5m"),
        *("micron", "Microns", "micrometer", "micrometers", "micrometre", "Micro-Metres", "micro meter"),
    ],
)
def test_a_micrometre_has_many_names(name: str) -> None:
    assert parse_length_unit(name) == 1
    assert not is_unknown_unit(name)


@pytest.mark.parametrize(
    ("name", "um"),
    [
        *(("nm", 1e-3), ("nanometer", 1e-3), ("pm", 1e-6), ("angstrom", 1e-4), ("\xc5", 1e-4), ("\u212b", 1e-4)),
        *(("mm", 1e3), ("millimetres", 1e3), ("cm", 1e4), ("centimeter", 1e4), ("m", 1e6), ("Meter", 1e6)),
        *(("in", 25_400), ("inch", 25_400), ("inches", 25_400), ("foot", 304_800), ("feet", 304_800)),
    ],
)
def test_other_units(name: str, um: float) -> None:
    assert parse_length_unit(name) == um


def test_a_megametre_is_no_millimetre() -> None:
    assert parse_length_unit("Mm") == 1e12


@pytest.mark.parametrize("name", ["", " ", "pixel", "pixels", "reference frame", "unit", "None"])
def test_some_names_stand_for_no_unit(name: str) -> None:
    assert parse_length_unit(name) is None
    assert not is_unknown_unit(name)


@pytest.mark.parametrize("name", ["parsec", "second", "um/px", "0.5", "s", "ms"])
def test_others_are_not_understood(name: str) -> None:
    assert parse_length_unit(name) is None
    assert is_unknown_unit(name)
