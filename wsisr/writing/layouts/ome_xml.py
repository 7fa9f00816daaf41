"""OME-XML of a pyramid: size, pixel pitch in um/px, and the note of where the image comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from wsisr.imaging.geometry import Size
from wsisr.writing.spec import PyramidSpec

_OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_NOTE = "wsisr/note"
"""Namespace by which our annotation is told from others."""

# XML 1.0 cannot hold these even escaped, or (carriage return) gives back something else.
_UNSAYABLE = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def ome_xml(spec: PyramidSpec, levels: int = 1, beside: Sequence[tuple[str, Size]] = ()) -> bytes:
    """The whole document in UTF-8, of so many levels and of pictures that follow them in the file, by name and size.

    Not in ASCII, as TIFF would have it: Bio-Formats 7.3 blanks out numeric references, finds a unit that does not
    exist where the micro sign stood, and then does not take the file for an OME-TIFF.
    """
    root = ElementTree.Element("OME", {"xmlns": _OME, "Creator": spec.software})
    if spec.magnification is not None:
        _add_lens(root, spec.magnification)
    named = {"Name": _sayable(spec.title)} if spec.title else {}
    image = ElementTree.SubElement(root, "Image", {"ID": "Image:0"} | named)
    if spec.magnification is not None:
        ElementTree.SubElement(image, "InstrumentRef", {"ID": "Instrument:0"})
        ElementTree.SubElement(image, "ObjectiveSettings", {"ID": "Objective:0:0"})
    _add_pixels(image, spec.size, spec.mpp)
    if spec.note:
        ElementTree.SubElement(image, "AnnotationRef", {"ID": "Annotation:0"})
    for number, (name, size) in enumerate(beside, start=1):
        other = ElementTree.SubElement(root, "Image", {"ID": f"Image:{number}", "Name": name})
        _add_pixels(other, size, None, number, levels + number - 1)
    if spec.note:
        _add_note(root, spec.note)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def note_in(xml: str | bytes) -> dict[str, str]:
    """The note in an OME-XML document; empty where there is none, or no such document."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return {}
    entries = root.iterfind(f".//{{{_OME}}}MapAnnotation[@Namespace='{_NOTE}']/{{{_OME}}}Value/{{{_OME}}}M")
    return {entry.get("K", ""): entry.text or "" for entry in entries}


def _add_lens(root: ElementTree.Element, magnification: float) -> None:
    instrument = ElementTree.SubElement(root, "Instrument", {"ID": "Instrument:0"})
    lens = {"ID": "Objective:0:0", "NominalMagnification": f"{magnification:g}"}
    ElementTree.SubElement(instrument, "Objective", lens)


def _add_pixels(image: ElementTree.Element, size: Size, mpp: float | None, number: int = 0, ifd: int = 0) -> None:
    attributes = {"ID": f"Pixels:{number}", "DimensionOrder": "XYCZT", "Type": "uint8", "Interleaved": "true"}
    attributes |= {"SizeX": str(size.width), "SizeY": str(size.height)}
    attributes |= {"SizeC": "3", "SizeZ": "1", "SizeT": "1"}
    if mpp is not None:
        for axis in "XY":
            attributes |= {f"PhysicalSize{axis}": repr(float(mpp)), f"PhysicalSize{axis}Unit": "µm"}
    pixels = ElementTree.SubElement(image, "Pixels", attributes)
    ElementTree.SubElement(pixels, "Channel", {"ID": f"Channel:{number}:0", "SamplesPerPixel": "3"})
    ElementTree.SubElement(pixels, "TiffData", {"IFD": str(ifd), "PlaneCount": "1"})


def _add_note(root: ElementTree.Element, note: Mapping[str, str]) -> None:
    annotations = ElementTree.SubElement(root, "StructuredAnnotations")
    attributes = {"ID": "Annotation:0", "Namespace": _NOTE}
    annotation = ElementTree.SubElement(annotations, "MapAnnotation", attributes)
    value = ElementTree.SubElement(annotation, "Value")
    for key, text in note.items():
        ElementTree.SubElement(value, "M", {"K": _sayable(key)}).text = _sayable(text)


def _sayable(text: str) -> str:
    return _UNSAYABLE.sub("\ufffd", text)
