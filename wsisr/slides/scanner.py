"""The scanner behind a slide and the day of the scan: all that a result keeps of the header, besides measures.

A header field holds whatever was typed into it, so no field is copied: names of makers and products are looked for in
the fields meant for them, and one that is not on the list is left out. Serial numbers, stations and operators stand in
other fields, which are not looked at. DICOM's rules of confidentiality (PS3.15, annex E) keep maker and model, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

_MAKER = (
    "dicom.Manufacturer",
    "philips.DICOM_MANUFACTURER",
    "ome.Microscope.Manufacturer",
    "tiff.Make",
)
_MODEL = (
    "dicom.ManufacturerModelName",
    "philips.DICOM_MANUFACTURERS_MODEL_NAME",
    "aperio.ScannerType",
    "leica.device-model",
    "ventana.ScannerModel",
    "ome.Microscope.Model",
    "tiff.Model",
)

_MAKER_OF_FORMAT = {
    "aperio": "Aperio",
    "hamamatsu": "Hamamatsu",
    "leica": "Leica",
    "mirax": "3DHISTECH",
    "philips": "Philips",
    "sakura": "Sakura",
    "trestle": "Trestle",
    "ventana": "Ventana",
}
"""Formats, as OpenSlide names them, that only one maker's scanners write."""

_SCANNED = {
    "dicom.AcquisitionDateTime": ("%Y%m%d",),
    "dicom.ContentDate": ("%Y%m%d",),
    "philips.DICOM_ACQUISITION_DATETIME": ("%Y%m%d",),
    "aperio.Date": ("%m/%d/%y", "%m/%d/%Y"),
    "leica.creation-date": ("%Y-%m-%d",),
    "hamamatsu.Created": ("%Y/%m/%d",),
    "mirax.GENERAL.SLIDE_CREATIONDATETIME": ("%d/%m/%Y",),
    "ventana.ScanDate": ("%m/%d/%Y",),
    "ome.AcquisitionDate": ("%Y-%m-%d",),
    "tiff.DateTime": ("%Y:%m:%d",),
}
"""Where scanners put the day, and how they write it; hours may follow."""

_MAKERS = (
    *("Leica Biosystems", "Leica", "Aperio", "Hamamatsu", "3DHISTECH", "Ventana", "Roche", "Philips", "Olympus"),
    *("Evident", "Zeiss", "Sakura", "PerkinElmer", "Akoya", "Huron", "Motic", "Grundium", "Epredia", "Mikroscan"),
    *("Trestle", "Objective Imaging", "Pramana", "KFBIO", "Morphle", "OptraScan", "Bionovation", "TRIBVN"),
)

_PRODUCTS = (
    *("GT ?450(?: ?DX)?", "AT2(?: ?DX)?", "AT Turbo", "CS2", "LV1", "VERSA(?: ?(?:8|200))?", "SCN400F?"),
    *("ScanScope(?: ?(?:AT2?|CS2?|XT|GL))?", "NanoZoomer(?:[ -](?:S(?:20|60|210|360)(?:MD)?|SQ|XR|HT|RS))?"),
    *("C(?:9600|10730|12000|13140|13210|13220|13239|14600|16300)", "iScan(?: ?(?:HT|Coreo))?", "DP ?(?:200|600)"),
    *("Pannoramic ?(?:SCAN|MIDI|DESK|FLASH|250|480|1000)(?: ?(?:II|III|Flash|DX))*", "Ultra ?Fast ?Scanner", "UFS"),
    *("SG ?(?:20|60|300)", "VS ?(?:110|120|200)", r"Axio ?Scan(?:\.Z1| ?7)?", "Vectra(?: ?(?:3|Polaris))?"),
    *("PhenoImager(?: ?HT)?", "EasyScan(?: ?(?:One|Pro))?", "Ocus(?: ?(?:20|40))?", "TissueScope(?: ?(?:LE|IQ|PE))?"),
    *("VisionTek(?: ?M6)?", "MedScan", "SL5", "KF-PRO-(?:005|020|120|400)"),
)
"""What scans brightfield slides, as patterns."""


def scanner_of(vendor: str, properties: Mapping[str, str]) -> dict[str, str]:
    """`scanner maker` and `scanner model`, as far as a slide of that format tells them."""
    makers = (maker for field in _MAKER for maker in _MAKERS if _found(maker, properties.get(field, "")))
    models = (_found(product, properties.get(field, "")) for field in _MODEL for product in _PRODUCTS)
    maker = next(makers, _MAKER_OF_FORMAT.get(vendor))
    found = {"scanner maker": maker, "scanner model": next(filter(None, models), None)}
    return {name: value for name, value in found.items() if value}


def scan_date(properties: Mapping[str, str]) -> str | None:
    """The day, as 2009-12-31; without the hour."""
    for name, forms in _SCANNED.items():
        for form in forms:
            with suppress(ValueError):
                return datetime.strptime(_day(properties.get(name, ""), form), form).date().isoformat()
    return None


def _found(pattern: str, text: str) -> str | None:
    """What of a text is that, as words of their own."""
    match = re.search(f"(?<![a-z0-9])(?:{pattern})(?![a-z0-9])", text, re.IGNORECASE | re.ASCII)
    return match and match[0]


def _day(text: str, form: str) -> str:
    """The part of a date with hours that is the day: eight digits, or up to a blank or a T."""
    return text[:8] if form == "%Y%m%d" else re.split("[ T]", text, maxsplit=1)[0]
