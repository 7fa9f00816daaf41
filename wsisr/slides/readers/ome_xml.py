"""Facts in OME-XML: pixel pitch and objective of the image that has the size of the slide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

from wsisr.imaging.geometry import Size
from wsisr.slides.pixel_size import Pitch, number, pitch_of

LONGEST_XML = 64 * 2**20

_UM_PER_UNIT = {
    "µm": 1.0,  # micro sign, U+00B5: what the schema asks for
    "\u03bcm": 1.0,  # Greek mu: what some writers put
    "um": 1.0,
    "pm": 1e-6,
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
}


@dataclass(frozen=True, slots=True)
class OmeFacts:
    """What OME-XML adds to a TIFF."""

    pitch: Pitch = field(default_factory=Pitch)
    objective: float | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    """Of the microscope and the day; nothing else of what OME-XML holds is looked at."""


def is_safe_xml(text: str) -> bool:
    """Whether a document is of sane length and declares no entities, by which a short text can swell to any size."""
    return len(text) <= LONGEST_XML and "<!DOCTYPE" not in text and "<!ENTITY" not in text


def ome_facts(xml: str, size: Size) -> OmeFacts:
    """Facts of the image of that size; empty where there is none, or the document cannot be parsed."""
    if not is_safe_xml(xml):
        return OmeFacts()
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError):
        return OmeFacts()
    image = next((image for image in root.iterfind("{*}Image") if _has_size(image, size)), None)
    return OmeFacts() if image is None else OmeFacts(_pitch(image), _objective(root, image), _scan(root, image))


def _scan(root: ElementTree.Element, image: ElementTree.Element) -> dict[str, str]:
    """By the names that `scanner` knows. The first microscope stands for all: a file of several is rare."""
    microscope, day = root.find("{*}Instrument/{*}Microscope"), image.findtext("{*}AcquisitionDate")
    known = {} if microscope is None else {name: microscope.get(name) for name in ("Manufacturer", "Model")}
    found = {f"ome.Microscope.{name}": text for name, text in known.items()} | {"ome.AcquisitionDate": day}
    return {name: text for name, text in found.items() if text}


def _has_size(image: ElementTree.Element, size: Size) -> bool:
    pixels = image.find("{*}Pixels")
    return pixels is not None and (pixels.get("SizeX"), pixels.get("SizeY")) == (str(size.width), str(size.height))


def _pitch(image: ElementTree.Element) -> Pitch:
    pixels = image.find("{*}Pixels")
    return Pitch() if pixels is None else pitch_of(_physical_size(pixels, "X"), _physical_size(pixels, "Y"))


def _physical_size(pixels: ElementTree.Element, axis: str) -> float | None:
    size = number(pixels.get(f"PhysicalSize{axis}"))
    um = _UM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
    return None if size is None or um is None else size * um


def _objective(root: ElementTree.Element, image: ElementTree.Element) -> float | None:
    """Magnification of the lens that the image names, or of the only one there is."""
    lenses = {lens.get("ID"): number(lens.get("NominalMagnification")) for lens in root.iterfind(".//{*}Objective")}
    settings = image.find("{*}ObjectiveSettings")
    if settings is not None:
        return lenses.get(settings.get("ID"))
    return next(iter(lenses.values())) if len(lenses) == 1 else None
