"""Facts from OME-XML: pixel size and objective of the image that has the size of the slide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

from wsisr.imaging.geometry import Size
from wsisr.slides.pixel_size import PixelSize, derive_pixel_size, parse_number

MAX_XML_CHARACTERS = 64 * 2**20

_UM_PER_UNIT = {
    "µm": 1.0,  # micro sign, U+00B5, as the schema demands
    "\u03bcm": 1.0,  # Greek mu, as some writers put
    "um": 1.0,
    "pm": 1e-6,
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
}


@dataclass(frozen=True, slots=True)
class OmeFacts:
    """The facts that OME-XML adds to a TIFF."""

    pixel_size: PixelSize = field(default_factory=PixelSize)
    objective: float | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    """Maker and model of the microscope, and the date; all else that OME-XML holds is ignored."""


def is_safe_xml(text: str) -> bool:
    """Whether a document is of bounded length and declares no entities, by which a short text can swell to any size."""
    return len(text) <= MAX_XML_CHARACTERS and "<!DOCTYPE" not in text and "<!ENTITY" not in text


def parse_ome_facts(xml: str, size: Size) -> OmeFacts:
    """Parse the facts of the image of that size; empty where there is none, or the document cannot be parsed."""
    if not is_safe_xml(xml):
        return OmeFacts()
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError):
        return OmeFacts()
    image = next((image for image in root.iterfind("{*}Image") if _has_size(image, size)), None)
    if image is None:
        return OmeFacts()
    return OmeFacts(_parse_pixel_size(image), _parse_objective(root, image), _parse_scan_properties(root, image))


def _parse_scan_properties(root: ElementTree.Element, image: ElementTree.Element) -> dict[str, str]:
    """Read scanner and date under the names that `scanner` looks for.

    The first microscope stands for all: a file with several is rare.
    """
    microscope, date = root.find("{*}Instrument/{*}Microscope"), image.findtext("{*}AcquisitionDate")
    names = {} if microscope is None else {name: microscope.get(name) for name in ("Manufacturer", "Model")}
    properties = {f"ome.Microscope.{name}": text for name, text in names.items()} | {"ome.AcquisitionDate": date}
    return {name: text for name, text in properties.items() if text}


def _has_size(image: ElementTree.Element, size: Size) -> bool:
    pixels = image.find("{*}Pixels")
    return pixels is not None and (pixels.get("SizeX"), pixels.get("SizeY")) == (str(size.width), str(size.height))


def _parse_pixel_size(image: ElementTree.Element) -> PixelSize:
    pixels = image.find("{*}Pixels")
    return (
        PixelSize()
        if pixels is None
        else derive_pixel_size(_parse_physical_size(pixels, "X"), _parse_physical_size(pixels, "Y"))
    )


def _parse_physical_size(pixels: ElementTree.Element, axis: str) -> float | None:
    size = parse_number(pixels.get(f"PhysicalSize{axis}"))
    um = _UM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
    return None if size is None or um is None else size * um


def _parse_objective(root: ElementTree.Element, image: ElementTree.Element) -> float | None:
    """Parse the magnification of the objective that the image refers to, or of the only one in the document."""
    lenses = {
        lens.get("ID"): parse_number(lens.get("NominalMagnification")) for lens in root.iterfind(".//{*}Objective")
    }
    settings = image.find("{*}ObjectiveSettings")
    if settings is not None:
        return lenses.get(settings.get("ID"))
    return next(iter(lenses.values())) if len(lenses) == 1 else None
