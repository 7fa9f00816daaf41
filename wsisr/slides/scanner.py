"""The scanner of a slide and the date of the scan: all that a result keeps of the header, besides measures.

A header field may hold anything that somebody typed into it, a patient's name too, so no field is copied: the fields
for maker and model are searched for the names of known makers and products, and unknown names are left out. Serial
numbers, stations and operators are in other fields, which are not read. DICOM's confidentiality profiles (PS3.15,
annex E) keep maker and model as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

_MAKER_FIELDS = (
    "dicom.Manufacturer",
    "philips.DICOM_MANUFACTURER",
    "ome.Microscope.Manufacturer",
    "tiff.Make",
)
_MODEL_FIELDS = (
    "dicom.ManufacturerModelName",
    "philips.DICOM_MANUFACTURERS_MODEL_NAME",
    "aperio.ScannerType",
    "leica.device-model",
    "ventana.ScannerModel",
    "ome.Microscope.Model",
    "zeiss.Microscope",
    "tiff.Model",
)

_MAKER_OF_FORMAT = {
    "aperio": "Aperio",
    "hamamatsu": "Hamamatsu",
    "leica": "Leica",
    "mirax": "3DHISTECH",
    "olympus": "Olympus",
    "philips": "Philips",
    "sakura": "Sakura",
    "trestle": "Trestle",
    "ventana": "Ventana",
    "zeiss": "Zeiss",
}
"""Formats, by OpenSlide's names, that only one maker's scanners write."""

_SCAN_DATE_FIELDS = {
    "dicom.AcquisitionDateTime": ("%Y%m%d",),
    "dicom.ContentDate": ("%Y%m%d",),
    "philips.DICOM_ACQUISITION_DATETIME": ("%Y%m%d",),
    "aperio.Date": ("%m/%d/%y", "%m/%d/%Y"),
    "leica.creation-date": ("%Y-%m-%d",),
    "hamamatsu.Created": ("%Y/%m/%d",),
    "mirax.GENERAL.SLIDE_CREATIONDATETIME": ("%d/%m/%Y",),
    "ventana.ScanDate": ("%m/%d/%Y",),
    "ome.AcquisitionDate": ("%Y-%m-%d",),
    "zeiss.AcquisitionDateAndTime": ("%Y-%m-%d",),
    "tiff.DateTime": ("%Y:%m:%d",),
}
"""Fields with the date of the scan, and the formats in which scanners write it; a time of day may follow."""

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
"""Regular expressions of the models of brightfield slide scanners."""


def identify_scanner(vendor: str, properties: Mapping[str, str]) -> dict[str, str]:
    """Return `scanner maker` and `scanner model`, as far as a slide of that format records known ones."""
    maker_texts, model_texts = (
        [text for field in fields if (text := properties.get(field))] for fields in (_MAKER_FIELDS, _MODEL_FIELDS)
    )
    makers = (maker for text in maker_texts for maker in _MAKERS if _find_words(maker, text))
    models = (_find_words(product, text) for text in model_texts for product in _PRODUCTS)
    maker = next(makers, _MAKER_OF_FORMAT.get(vendor))
    scanner = {"scanner maker": maker, "scanner model": next(filter(None, models), None)}
    return {name: value for name, value in scanner.items() if value}


def parse_scan_date(properties: Mapping[str, str]) -> str | None:
    """Return the date of the scan, as in 2009-12-31; None where none is recorded in a known format."""
    recorded = ((text, forms) for name, forms in _SCAN_DATE_FIELDS.items() if (text := properties.get(name)))
    for text, forms in recorded:
        for form in forms:
            with suppress(ValueError):
                return datetime.strptime(_cut_off_time(text, form), form).date().isoformat()
    return None


def _find_words(pattern: str, text: str) -> str | None:
    """Return the part of a text that matches, if it stands there as words of its own."""
    match = re.search(f"(?<![a-z0-9])(?:{pattern})(?![a-z0-9])", text, re.IGNORECASE | re.ASCII)
    return match and match[0]


def _cut_off_time(text: str, form: str) -> str:
    """Cut the time of day off a date: all but eight digits, or what follows a blank or a T."""
    return text[:8] if form == "%Y%m%d" else re.split("[ T]", text, maxsplit=1)[0]
