"""OME-XML of a pyramid: size, pixel size in um/px, and the provenance metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from wsisr.imaging.geometry import Size
from wsisr.writing.spec import PyramidSpec

_OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_NAMESPACE = "wsisr/note"
"""Namespace of our annotation; it is stored in files, so it keeps this value."""

# XML 1.0 cannot hold these characters even escaped, or (carriage return) returns another one.
_FORBIDDEN = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def build_ome_xml(spec: PyramidSpec, levels: int = 1, associated: Sequence[tuple[str, Size]] = ()) -> bytes:
    """Return the document in UTF-8, for `levels` levels and the associated images (name, size) that follow them.

    TIFF asks for ASCII, but Bio-Formats 7.3 blanks out numeric character references: it then finds an unknown unit
    instead of the micro sign, and does not take the file for an OME-TIFF.
    """
    root = ElementTree.Element("OME", {"xmlns": _OME, "Creator": spec.software})
    if spec.magnification is not None:
        _add_objective(root, spec.magnification)
    name_attribute = {"Name": _replace_forbidden(spec.title)} if spec.title else {}
    image = ElementTree.SubElement(root, "Image", {"ID": "Image:0"} | name_attribute)
    if spec.magnification is not None:
        ElementTree.SubElement(image, "InstrumentRef", {"ID": "Instrument:0"})
        ElementTree.SubElement(image, "ObjectiveSettings", {"ID": "Objective:0:0"})
    _add_pixels(image, spec.size, spec.mpp)
    if spec.metadata:
        ElementTree.SubElement(image, "AnnotationRef", {"ID": "Annotation:0"})
    for number, (name, size) in enumerate(associated, start=1):
        associated_image = ElementTree.SubElement(root, "Image", {"ID": f"Image:{number}", "Name": name})
        _add_pixels(associated_image, size, None, number, levels + number - 1)
    if spec.metadata:
        _add_metadata(root, spec.metadata)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def build_plane_xml(size: Size, mpp: float, title: str, metadata: Mapping[str, str]) -> bytes:
    """Return the document of a pyramid of one channel that wsisr adds to a result, with metadata of its own."""
    root = ElementTree.Element("OME", {"xmlns": _OME})
    image = ElementTree.SubElement(root, "Image", {"ID": "Image:0", "Name": _replace_forbidden(title)})
    _add_pixels(image, size, mpp, channels=1)
    ElementTree.SubElement(image, "AnnotationRef", {"ID": "Annotation:0"})
    _add_metadata(root, metadata)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def parse_ome_metadata(xml: str | bytes) -> dict[str, str]:
    """Return our metadata from an OME-XML document; empty if it has none or is not XML."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return {}
    entries = root.iterfind(f".//{{{_OME}}}MapAnnotation[@Namespace='{_NAMESPACE}']/{{{_OME}}}Value/{{{_OME}}}M")
    return {entry.get("K", ""): entry.text or "" for entry in entries}


def _add_objective(root: ElementTree.Element, magnification: float) -> None:
    instrument = ElementTree.SubElement(root, "Instrument", {"ID": "Instrument:0"})
    attributes = {"ID": "Objective:0:0", "NominalMagnification": f"{magnification:g}"}
    ElementTree.SubElement(instrument, "Objective", attributes)


def _add_pixels(
    image: ElementTree.Element, size: Size, mpp: float | None, number: int = 0, ifd: int = 0, channels: int = 3
) -> None:
    attributes = {"ID": f"Pixels:{number}", "DimensionOrder": "XYCZT", "Type": "uint8", "Interleaved": "true"}
    attributes |= {"SizeX": str(size.width), "SizeY": str(size.height)}
    attributes |= {"SizeC": str(channels), "SizeZ": "1", "SizeT": "1"}
    if mpp is not None:
        for axis in "XY":
            attributes |= {f"PhysicalSize{axis}": repr(float(mpp)), f"PhysicalSize{axis}Unit": "µm"}
    pixels = ElementTree.SubElement(image, "Pixels", attributes)
    ElementTree.SubElement(pixels, "Channel", {"ID": f"Channel:{number}:0", "SamplesPerPixel": str(channels)})
    ElementTree.SubElement(pixels, "TiffData", {"IFD": str(ifd), "PlaneCount": "1"})


def _add_metadata(root: ElementTree.Element, metadata: Mapping[str, str]) -> None:
    annotations = ElementTree.SubElement(root, "StructuredAnnotations")
    attributes = {"ID": "Annotation:0", "Namespace": _NAMESPACE}
    annotation = ElementTree.SubElement(annotations, "MapAnnotation", attributes)
    value = ElementTree.SubElement(annotation, "Value")
    for key, text in metadata.items():
        ElementTree.SubElement(value, "M", {"K": _replace_forbidden(key)}).text = _replace_forbidden(text)


def _replace_forbidden(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
