"""Bounds of the numbers in a MIRAX slide's index, which OpenSlide computes with as they stand."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

from wsisr.bounds import MAX_MIRAX_INDEX_BYTES, MAX_MIRAX_PICTURE_PX, MAX_MIRAX_PICTURES, MIB
from wsisr.errors import SlideError

SLIDEDAT = "Slidedat.ini"
"""Name of the index, in the folder that is named after the slide."""

SIDES = (("OVERLAP_X", "DIGITIZER_WIDTH"), ("OVERLAP_Y", "DIGITIZER_HEIGHT"))


def refuse_unbounded_mirax(path: Path) -> None:
    """Raise `SlideError` where a number of the index is beyond what a scanner writes.

    OpenSlide 4.0.1 allocates and loops by these numbers: a damaged one ends the process, or keeps it for ever.
    """
    sections = _read_sections(path)
    for key in ("IMAGENUMBER_X", "IMAGENUMBER_Y"):
        _require(path, sections["GENERAL"], key, 1, MAX_MIRAX_PICTURES)
    for section in sections.values():
        for overlap, side in SIDES:
            px = _require(path, section, side, 1, MAX_MIRAX_PICTURE_PX)
            _require(path, section, overlap, 1 - px, px - 1)


def _read_sections(path: Path) -> dict[str, dict[str, str]]:
    with (path.with_suffix("") / SLIDEDAT).open("rb") as file:
        content = file.read(MAX_MIRAX_INDEX_BYTES + 1)
    if len(content) > MAX_MIRAX_INDEX_BYTES:
        mebibytes = MAX_MIRAX_INDEX_BYTES // MIB
        raise SlideError(f"{path}: its {SLIDEDAT} has more than {mebibytes} MiB, so it is no index; copy it again")
    sections: defaultdict[str, dict[str, str]] = defaultdict(dict)
    name = ""
    for line in content.decode("utf-8-sig", errors="replace").splitlines():
        text = line.strip()
        if text.startswith("[") and text.endswith("]"):
            name = text[1:-1]
        elif "=" in text:
            key, _, value = text.partition("=")
            sections[name][key.strip()] = value.strip()
    return sections


def _require(path: Path, section: dict[str, str], key: str, least: float, most: float) -> float:
    """Return a number; one that is not there is left to OpenSlide, which says so."""
    text = section.get(key)
    if text is None:
        return most
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        given = f"{key} in its {SLIDEDAT} is {text[:40]!r}"
        raise SlideError(f"{path}: {given}, where {least:g} to {most:g} is due; copy the slide again")
    return value
