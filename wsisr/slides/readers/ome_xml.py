"""Facts from OME-XML: pixel size, objective and colour channels of one image of a file.

The image is the one of the slide's size; of several, the one whose first plane lies where the slide's does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

from wsisr.bounds import MAX_OME_PLANES, MAX_XML_CHARACTERS, MAX_XML_TAGS
from wsisr.imaging.geometry import Size
from wsisr.imaging.units import is_unknown_unit, parse_length_unit
from wsisr.slides.pixel_size import PixelSize, derive_pixel_size, parse_number

_DEFAULT_UNIT = "µm"
"""Unit of physical sizes that name none, by the schema."""

_BLOCK_COUNTS = ("IFD", "PlaneCount", "NumPlanes", "FirstZ", "FirstC", "FirstT")
"""Attributes of TiffData that count planes."""

_PRIMARY_OF_NAME = {"red": 0, "r": 0, "green": 1, "g": 1, "blue": 2, "b": 2}
_PRIMARY_OF_COLOUR = {0xFF0000: 0, 0x00FF00: 1, 0x0000FF: 2}
_FLUORESCENCE = {"Fluor", "EmissionWavelength", "ExcitationWavelength"}
"""Attributes that only channels of fluorescence have."""


@dataclass(frozen=True, slots=True)
class OmeFacts:
    """The facts that OME-XML adds to a TIFF."""

    pixel_size: PixelSize = field(default_factory=PixelSize)
    objective: float | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    """Maker and model of the microscope, and the date; all else that OME-XML holds is ignored."""
    unknown_unit: str | None = None
    """Unit of the pixel size if that is not understood."""


@dataclass(frozen=True, slots=True)
class ImagePlace:
    """Where an image lies, by which one of several images of the same size is told from the others."""

    ifd: int | None = None
    """Number of its first page in the file; None where that is not known."""
    file_name: str = ""
    uuid: str | None = None
    """The file's own UUID, as OME-XML refers to it; None where it stands in that OME-XML."""


def is_safe_xml(text: str) -> bool:
    """Whether a document is of bounded length and declares no entities."""
    return not _describe_excessive_text(text)


def describe_excess(text: str) -> str:
    """Return in words what a document claims beyond the bounds, for any library that parses it; empty where nothing.

    A text that is no XML passes. Entities are refused, by which a short text can swell to any size.
    """
    excess = _describe_excessive_text(text)
    root = _parse_document(text) if "<" in text else None
    planes = 0 if root is None else max(_list_claimed_planes(root), default=0)
    return f"counts {planes:.4g} planes, more than {MAX_OME_PLANES}" if planes > MAX_OME_PLANES else excess


def _describe_excessive_text(text: str) -> str:
    if len(text) > MAX_XML_CHARACTERS:
        return f"has more than {MAX_XML_CHARACTERS} characters"
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return "declares XML entities"
    return f"has more than {MAX_XML_TAGS} XML tags" if text.count("<") > MAX_XML_TAGS else ""


def _list_claimed_planes(root: ElementTree.Element) -> Iterator[float]:
    """Yield all counts of planes in OME-XML; for them tifffile makes lists before it looks for any plane."""
    for pixels in root.iterfind(".//{*}Pixels"):
        yield math.prod(max(1.0, parse_number(pixels.get(f"Size{axis}")) or 1) for axis in "ZCT")
        for block in pixels.iterfind("{*}TiffData"):
            yield from (parse_number(block.get(name)) or 0 for name in _BLOCK_COUNTS)
    for along in root.iter():
        if along.tag[:-1].endswith("Along") and along.get("Start"):
            start, end, step = (parse_number(along.get(name)) for name in ("Start", "End", "Step"))
            yield abs((end or 0) - (start or 0)) / abs(step or 1)


def parse_ome_facts(xml: str, size: Size, place: ImagePlace = ImagePlace()) -> OmeFacts:
    """Parse the facts of the image of that size and place.

    Empty where there is none, where the document cannot be parsed, and where several images may be meant whose facts
    differ.
    """
    root = _parse_document(xml)
    if root is None:
        return OmeFacts()
    facts = [_parse_image_facts(root, image) for image in _find_images(root, size, place)]
    return facts[0] if facts and all(other == facts[0] for other in facts) else OmeFacts()


def parse_rgb_channels(xml: str, size: Size, place: ImagePlace = ImagePlace()) -> tuple[int, ...] | None:
    """Parse which channels of an image are its red, green and blue; None where they are anything else.

    Their names count, or their colours where they have no names: stains of fluorescence are coloured so, too.
    """
    root = _parse_document(xml)
    images = [] if root is None else _find_images(root, size, place)
    channels = list(images[0].iterfind("{*}Pixels/{*}Channel")) if len(images) == 1 else []
    if len(channels) != 3 or any(_FLUORESCENCE & set(channel.keys()) for channel in channels):
        return None
    if any(channel.get("ContrastMethod") == "Fluorescence" for channel in channels):
        return None
    names = [channel.get("Name", "").strip().lower() for channel in channels]
    if any(name and not name.startswith("channel") for name in names):
        return _order_primaries([_PRIMARY_OF_NAME.get(name) for name in names])
    return _order_primaries([_parse_primary(channel.get("Color", "")) for channel in channels])


def find_companion_name(xml: str) -> str | None:
    """Return the name of the file that has the facts in this one's stead; None where this one has them."""
    root = _parse_document(xml) if "BinaryOnly" in xml else None
    binary_only = None if root is None else root.find("{*}BinaryOnly")
    return None if binary_only is None else binary_only.get("MetadataFile")


def parse_uuid(xml: str) -> str | None:
    """Parse the UUID by which OME-XML refers to the file that this document lies in."""
    root = _parse_document(xml)
    return None if root is None else root.get("UUID")


def _parse_document(xml: str) -> ElementTree.Element | None:
    if not is_safe_xml(xml):
        return None
    try:
        return ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError):
        return None


def _find_images(root: ElementTree.Element, size: Size, place: ImagePlace) -> list[ElementTree.Element]:
    """Return the images of that size; of several, those that lie at that place, if any do."""
    images = [image for image in root.iterfind("{*}Image") if _has_size(image, size)]
    own_uuid = place.uuid or root.get("UUID")
    if len(images) < 2 or place.ifd is None:
        return images
    return [image for image in images if _lies_at(image, place, own_uuid)] or images


def _lies_at(image: ElementTree.Element, place: ImagePlace, own_uuid: str | None) -> bool:
    """Whether one of an image's blocks of planes holds a page of a file."""
    blocks = image.iterfind("{*}Pixels/{*}TiffData")
    return any(place.ifd in _block_pages(block) and _is_in_file(block, place, own_uuid) for block in blocks)


def _block_pages(block: ElementTree.Element) -> range:
    """Return the pages of a block; without a count it is the page that it names, or else all pages."""
    first, count = (parse_number(block.get(name)) for name in ("IFD", "PlaneCount"))
    if count is None:
        count = parse_number(block.get("NumPlanes"))
    if count is None:
        count = 2**31 if first is None else 1
    return range(int(first or 0), int(first or 0) + int(count))


def _is_in_file(block: ElementTree.Element, place: ImagePlace, own_uuid: str | None) -> bool:
    """Whether a block lies in the slide's own file: by UUID, as files get renamed, or else by name."""
    uuid = block.find("{*}UUID")
    if uuid is None:
        return True
    if own_uuid and uuid.text:
        return uuid.text.strip() == own_uuid
    return uuid.get("FileName", "").lower() == place.file_name.lower()


def _order_primaries(primaries: Sequence[int | None]) -> tuple[int, ...] | None:
    """Return where red, green and blue are; None where it is not each of them once."""
    return tuple(primaries.index(number) for number in range(3)) if set(primaries) == {0, 1, 2} else None


def _parse_primary(colour: str) -> int | None:
    """Parse an RGBA colour, a signed integer of 32 bits: 0 for pure red, 1 for green, 2 for blue, else None."""
    value = parse_number(colour)
    return None if value is None else _PRIMARY_OF_COLOUR.get((int(value) & 0xFFFFFFFF) >> 8)


def _parse_image_facts(root: ElementTree.Element, image: ElementTree.Element) -> OmeFacts:
    return OmeFacts(
        _parse_pixel_size(image),
        _parse_objective(root, image),
        _parse_scan_properties(root, image),
        _find_unknown_unit(image),
    )


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
    um = parse_length_unit(_get_unit(pixels, axis))
    return None if size is None or um is None else size * um


def _get_unit(pixels: ElementTree.Element, axis: str) -> str:
    return pixels.get(f"PhysicalSize{axis}Unit", _DEFAULT_UNIT)


def _find_unknown_unit(image: ElementTree.Element) -> str | None:
    """Return the unit of an image's physical size if it is not understood."""
    units = [_get_unit(pixels, axis) for pixels in image.iterfind("{*}Pixels") for axis in "XY"]
    return next(filter(is_unknown_unit, units), None)


def _parse_objective(root: ElementTree.Element, image: ElementTree.Element) -> float | None:
    """Parse the magnification of the objective that the image refers to, or of the only one in the document."""
    lenses = {
        lens.get("ID"): parse_number(lens.get("NominalMagnification")) for lens in root.iterfind(".//{*}Objective")
    }
    settings = image.find("{*}ObjectiveSettings")
    if settings is not None:
        return lenses.get(settings.get("ID"))
    return next(iter(lenses.values())) if len(lenses) == 1 else None
