"""What DICOM states around an image: whose specimen it shows, where that lies on the glass, and which scan it is from.

A DICOM slide tells it; for slides of other formats a stand-in of empty fields and a usual place serves.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import Dataset, config
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_partial

from wsisr.errors import SlideError, describe_error
from wsisr.slides.lossy_compression import LossyCompression
from wsisr.slides.readers.dicom import list_level_files
from wsisr.slides.readers.dicom_header import DicomHeader
from wsisr.slides.slide import SlideInfo

_MAX_HEADER_BYTES = 2**25
"""Bytes of a file in which its header is looked for: a scanner's colour profile alone takes up to 13 MB."""

_FIRST_FUNCTIONAL_GROUP = 0x52009229

_MAX_CODE_LENGTH, _MAX_NUMBER = 16, 1e9

_HEADER_ERRORS = (
    *(InvalidDicomError, OSError, EOFError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, RuntimeError, BytesLengthException, struct.error, MemoryError),
)
"""Errors that pydicom raises for damaged headers."""

_PATIENT_GROUPS = (0x0010, 0x0012)
"""Patient, and clinical trial; all of their elements are carried over."""

_CARRIED = (
    # Study (PS3.3, C.7.2.1)
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "IssuerOfAccessionNumberSequence"),
    *("ReferringPhysicianName", "ConsultingPhysicianName", "PhysiciansOfRecord", "StudyDescription"),
    *("ProcedureCodeSequence", "RequestingService", "ReasonForPerformedProcedureCodeSequence"),
    # Specimen (C.7.6.22)
    *("ContainerIdentifier", "IssuerOfTheContainerIdentifierSequence", "AlternateContainerIdentifierSequence"),
    *("ContainerTypeCodeSequence", "ContainerDescription", "ContainerComponentSequence"),
    "SpecimenDescriptionSequence",
    # Frame of reference and acquisition
    *("FrameOfReferenceUID", "PositionReferenceIndicator", "AcquisitionDateTime", "BurnedInAnnotation"),
)
"""Keywords of the other elements that an image derived from a slide shares with it."""

_EQUIPMENT = ("Manufacturer", "InstitutionName", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions")


@dataclass(frozen=True, slots=True)
class GlassPosition:
    """Where an image lies in the slide coordinate system (PS3.3, C.8.12.2.1), whose axes run along the glass."""

    x_mm: float = 25.0
    y_mm: float = 50.0
    """Place of the top left corner of the image. The default is the one that wsidicom uses where none is known, the
    far corner of a standard glass without its label."""
    z_um: float | None = None
    orientation: tuple[float, ...] = (0.0, -1.0, 0.0, -1.0, 0.0, 0.0)
    """Direction cosines of a row to the right, x, y, z, then those of a column downwards."""

    def move(self, right_mm: float, down_mm: float) -> GlassPosition:
        """Return the position of a corner so far to the right and below in the image."""
        (across_x, across_y, _), (down_x, down_y, _) = self.orientation[:3], self.orientation[3:]
        x_mm = self.x_mm + right_mm * across_x + down_mm * down_x
        return replace(self, x_mm=x_mm, y_mm=self.y_mm + right_mm * across_y + down_mm * down_y)


@dataclass(frozen=True, slots=True)
class DicomContext:
    """What an image derived from a slide states beside its pixels."""

    position: GlassPosition = field(default_factory=GlassPosition)
    compressions: tuple[LossyCompression, ...] = ()
    """Lossy compressions of the slide's pixels, from the first to the last."""
    shared: Dataset = field(default_factory=Dataset, repr=False)
    """Elements of patient, study, specimen and frame of reference; empty where they are not known, or left out."""
    equipment: Dataset = field(default_factory=Dataset, repr=False)
    """Elements that name the scanner."""
    optical_path: Dataset = field(default_factory=Dataset, repr=False)
    """Light and lenses of the scan, without colour profile."""
    series: str = ""
    """UID of the slide's series."""
    instances: tuple[str, ...] = ()
    """UIDs of the whole-slide instances that hold the pixels."""

    def move(self, right_mm: float, down_mm: float) -> DicomContext:
        """Return the context of an image whose corner lies so far to the right and below."""
        return replace(self, position=self.position.move(right_mm, down_mm))

    def remove_identity(self) -> DicomContext:
        """Return what is left without patient, study, specimen, scanner and source: place and compressions."""
        removed = Dataset()
        removed.PatientIdentityRemoved = "YES"
        removed.DeidentificationMethod = "wsisr --deidentify: all attributes are new, the pixels are not"
        return DicomContext(self.position, self.compressions, removed)


def read_dicom_context(info: SlideInfo, level: int) -> DicomContext:
    """Read what a DICOM slide records around the pixels of a level. Memory: the header of one file.

    Raises `SlideError` where a header is damaged, `OSError` where its folder cannot be read.
    """
    files = list_level_files(info.path.parent, info.properties.get("dicom.SeriesInstanceUID"))
    if not files:
        raise SlideError(f"{info.path}: its header cannot be read; copy the slide again")
    base = max(files, key=lambda path: _count_pixels(files[path]))
    # What other writers left is carried over as it is; pydicom would warn of values of a wrong form, and show them.
    with warnings.catch_warnings(action="ignore"), config.disable_value_validation():
        return _make_context(base, _list_instances(files.values(), info, level))


def _make_context(path: Path, instances: tuple[str, ...]) -> DicomContext:
    with path.open("rb") as file:
        head = BytesIO(file.read(_MAX_HEADER_BYTES))
    try:
        header: Dataset = read_partial(head, stop_when=lambda tag, *_: tag >= _FIRST_FUNCTIONAL_GROUP)
        header.decode()
        optical_paths = header.get("OpticalPathSequence") or [Dataset()]
        return DicomContext(
            position=_read_position(header),
            compressions=tuple(_list_compressions(header)),
            shared=_pick_elements(header, [*_list_patient_keywords(header), *_CARRIED]),
            equipment=_pick_elements(header, _EQUIPMENT),
            optical_path=_drop_profile(optical_paths[0]),
            series=_require_uid(str(header.get("SeriesInstanceUID", ""))),
            instances=tuple(map(_require_uid, instances)),
        )
    except _HEADER_ERRORS as error:
        raise SlideError(f"{path}: its header is damaged ({describe_error(error)}); copy the slide again") from error


def _count_pixels(header: DicomHeader) -> int:
    return 0 if header.size is None else header.size.pixel_count


def _list_instances(headers: Iterable[DicomHeader], info: SlideInfo, level: int) -> tuple[str, ...]:
    """Return the instances of a level; of the whole series where the level was cut or stretched, and none fits."""
    headers = sorted(headers, key=lambda header: header.instance)
    fitting = [header for header in headers if header.size == info.levels[level].size]
    return tuple(header.instance for header in fitting or headers)


def _read_position(header: Dataset) -> GlassPosition:
    position = GlassPosition()
    origins, orientation = header.get("TotalPixelMatrixOriginSequence"), header.get("ImageOrientationSlide")
    if orientation is not None and len(orientation) == len(position.orientation):
        position = replace(position, orientation=tuple(map(_parse_finite, orientation)))
    if not origins or "XOffsetInSlideCoordinateSystem" not in origins[0]:
        return position
    x_mm, y_mm = (_parse_finite(origins[0][f"{axis}OffsetInSlideCoordinateSystem"].value) for axis in "XY")
    z_um = origins[0].get("ZOffsetInSlideCoordinateSystem")
    return replace(position, x_mm=x_mm, y_mm=y_mm, z_um=None if z_um is None else _parse_finite(z_um))


def _list_compressions(header: Dataset) -> Iterator[LossyCompression]:
    methods, ratios = (_list_values(header.get(f"LossyImageCompression{name}")) for name in ("Method", "Ratio"))
    pairs = zip(methods, ratios, strict=False)
    return (LossyCompression(_clean_code(str(method)), _parse_finite(ratio)) for method, ratio in pairs)


def _clean_code(text: str) -> str:
    """Return a text with the characters and the length that a defined term may have."""
    return re.sub("[^A-Z0-9_ ]", "_", text.upper())[:_MAX_CODE_LENGTH]


def _parse_finite(value: Any) -> float:
    number = float(value)
    if not abs(number) < _MAX_NUMBER:
        raise ValueError(f"{number:g} is no length, direction or ratio")
    return number


def _require_uid(text: str) -> str:
    if not re.fullmatch(r"[0-9.]{1,64}", text):
        raise ValueError("a UID of other characters than digits and dots")
    return text


def _list_values(value: Any) -> list[Any]:
    return [] if value in (None, "") else list(value) if not isinstance(value, str | float | int) else [value]


def _list_patient_keywords(header: Dataset) -> list[str]:
    return [element.keyword for element in header if element.tag.group in _PATIENT_GROUPS and element.keyword]


def _pick_elements(header: Dataset, keywords: Iterable[str]) -> Dataset:
    picked = Dataset()
    for keyword in keywords:
        if keyword in header and not header[keyword].is_empty:
            picked[keyword] = header[keyword]
    return picked


def _drop_profile(optical_path: Dataset) -> Dataset:
    return _pick_elements(
        optical_path, (element.keyword for element in optical_path if element.keyword != "ICCProfile")
    )
