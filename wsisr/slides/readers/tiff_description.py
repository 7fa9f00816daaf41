"""What programs write into TIFF's ImageDescription: Aperio's words, which others repeat, and ImageJ's lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wsisr.bounds import MAX_DESCRIPTION_CHARACTERS
from wsisr.imaging.units import is_unknown_unit, parse_length_unit
from wsisr.slides.pixel_size import PixelSize, derive_pixel_size, parse_number

_IMAGEJ = "ImageJ="


@dataclass(frozen=True, slots=True)
class DescribedFacts:
    """Facts from a description."""

    mpp: float | None = None
    objective: float | None = None
    um_per_unit: float | None = None
    """Length of the unit that the TIFF's resolution counts in; None where the description names none."""
    unknown_unit: str | None = None
    """That unit if it is not understood."""

    def read_pixel_size(self, page: Any) -> PixelSize:
        """Return the pixel size that the description of a `tifffile.TiffPage` stands for."""
        if self.mpp is not None or self.um_per_unit is None:
            return derive_pixel_size(self.mpp, self.mpp)
        return derive_pixel_size(*(self._convert(page.tags.valueof(f"{axis}Resolution")) for axis in "XY"))

    def _convert(self, resolution: object) -> float | None:
        """Convert pixels per unit, as a ratio, to um per pixel."""
        if not (isinstance(resolution, tuple) and len(resolution) == 2 and resolution[0] and self.um_per_unit):
            return None
        return float(self.um_per_unit * resolution[1] / resolution[0])


def parse_description(description: str) -> DescribedFacts:
    """Parse a description. Aperio's keys count wherever they stand: exports of crops and converters keep them."""
    if len(description) > MAX_DESCRIPTION_CHARACTERS:
        return DescribedFacts()
    if description.startswith(_IMAGEJ):
        unit = _parse_entries(description, "\n").get("unit", "")
        return DescribedFacts(um_per_unit=parse_length_unit(unit), unknown_unit=unit if is_unknown_unit(unit) else None)
    entries = _parse_entries(description, "|")
    return DescribedFacts(parse_number(entries.get("MPP")), parse_number(entries.get("AppMag")))


def _parse_entries(text: str, separator: str) -> Mapping[str, str]:
    pairs = (entry.partition("=") for entry in text.split(separator))
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}
