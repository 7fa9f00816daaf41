"""What an instance of a DICOM slide states about its origin: patient, study, specimen, equipment, source, derivation.

The equipment is the program that made the image; the scanner is a contributing one.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime

from pydicom import Dataset
from pydicom.sr.codedict import codes

from wsisr.writing.layouts.dicom_instance import (
    PICTURE_KINDS,
    SHORT_TEXT,
    WHOLE_SLIDE_CLASS_UID,
    InstanceDraft,
    InstanceUids,
    clean_text,
    make_code_item,
    make_dataset,
)
from wsisr.writing.spec import PyramidSpec

_UNKNOWN = "unknown"

_UNKNOWN_TIME = "19700101000000"
"""Date and time of a scan that is not recorded: DICOM requires one."""

_REQUIRED_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
"""Elements of patient and study that are there, but empty, where nothing is known."""

_DERIVATION_KEYS = ("derived", "model", "scale", "software")
"""Entries of the metadata that the derivation description repeats."""

_PICTURE_DERIVATION = "copied from the slide and compressed anew; words on the label say what the levels are"

_SCANNER_KEYS = {"scanner maker": "Manufacturer", "scanner model": "ManufacturerModelName"}
"""Entries of the metadata that name the scanner, to elements."""


def build_origin(draft: InstanceDraft) -> Dataset:
    """Return the elements that say whose image it is, who made it, and from what."""
    dataset = _build_patient_and_study(draft.uids)
    dataset.update(_build_specimen(draft.uids))
    dataset.update(_build_acquisition(draft.spec))
    dataset.update(draft.context.shared)
    dataset.update(_build_content_time(str(dataset.AcquisitionDateTime)))
    dataset.update(_build_series(draft))
    if not draft.is_level:  # what the slide's own label and macro show
        dataset.BurnedInAnnotation = "YES"
    if draft.kind == PICTURE_KINDS["label"]:
        dataset.update(make_dataset(BarcodeValue="", LabelText=""))
    dataset.update(_build_equipment(draft))
    dataset.update(_build_derivation(draft))
    return dataset


def describe_derivation(spec: PyramidSpec) -> str:
    """Return in words that the pixels were computed, and how."""
    entries = (f"{key}: {spec.metadata[key]}" for key in _DERIVATION_KEYS if key in spec.metadata)
    return clean_text("; ".join(entries) or spec.title or spec.software, SHORT_TEXT)


def build_source_references(draft: InstanceDraft) -> list[Dataset]:
    """Return an item for each instance that the pixels were computed from."""
    purpose = codes.DCM.SourceImageForImageProcessingOperation
    references = [_make_reference(instance) for instance in draft.context.instances]
    for reference in references:
        reference.PurposeOfReferenceCodeSequence = [make_code_item(purpose)]
    return references


def _build_patient_and_study(uids: InstanceUids) -> Dataset:
    return make_dataset(
        **dict.fromkeys(_REQUIRED_EMPTY, ""),
        StudyInstanceUID=uids.make_shared("study"),
        FrameOfReferenceUID=uids.make_shared("frame of reference"),
        PositionReferenceIndicator="SLIDE_CORNER",
    )


def _build_specimen(uids: InstanceUids) -> Dataset:
    specimen = make_dataset(
        SpecimenIdentifier=_UNKNOWN,
        IssuerOfTheSpecimenIdentifierSequence=[],
        SpecimenUID=uids.make_shared("specimen"),
        SpecimenPreparationSequence=[],
    )
    return make_dataset(
        ContainerIdentifier=_UNKNOWN,
        IssuerOfTheContainerIdentifierSequence=[],
        ContainerTypeCodeSequence=[make_code_item(codes.SCT.MicroscopeSlide)],
        SpecimenDescriptionSequence=[specimen],
    )


def _build_acquisition(spec: PyramidSpec) -> Dataset:
    day = spec.metadata.get("scan date", "").replace("-", "")
    return make_dataset(
        AcquisitionDateTime=day if re.fullmatch(r"\d{8}", day) else _UNKNOWN_TIME,
        AcquisitionContextSequence=[],
        BurnedInAnnotation="NO",
    )


def _build_content_time(acquisition: str) -> Dataset:
    """Return the time of the content: that of the scan, for with that of its making no result would equal another."""
    for text, form in ((acquisition[:14], "%Y%m%d%H%M%S"), (acquisition[:8], "%Y%m%d")):
        with suppress(ValueError):
            time = datetime.strptime(text, form)
            return make_dataset(ContentDate=f"{time:%Y%m%d}", ContentTime=f"{time:%H%M%S}")
    return make_dataset(ContentDate=_UNKNOWN_TIME[:8], ContentTime=_UNKNOWN_TIME[8:])


def _build_series(draft: InstanceDraft) -> Dataset:
    description = clean_text(draft.spec.title)
    return make_dataset(
        SpecificCharacterSet="ISO_IR 192",
        SOPClassUID=WHOLE_SLIDE_CLASS_UID,
        SOPInstanceUID=draft.uids.make_own(f"{draft.kind} {draft.number}"),
        Modality="SM",
        SeriesInstanceUID=draft.uids.make_own("series"),
        SeriesNumber=None,
        SeriesDescription=description,
        InstanceNumber=draft.number + 1,
        PyramidUID=draft.uids.make_own("pyramid"),
        PyramidDescription=description,
    )


def _build_equipment(draft: InstanceDraft) -> Dataset:
    metadata = draft.spec.metadata
    scanner = make_dataset(
        **{name: clean_text(metadata[key]) for key, name in _SCANNER_KEYS.items() if key in metadata}
    )
    scanner.update(draft.context.equipment)
    dataset = make_dataset(
        Manufacturer="wsisr",
        ManufacturerModelName="wsisr",
        DeviceSerialNumber="none",
        SoftwareVersions=clean_text(draft.spec.software),
    )
    if scanner.get("Manufacturer"):
        scanner.PurposeOfReferenceCodeSequence = [make_code_item(codes.DCM.AcquisitionEquipment)]
        dataset.ContributingEquipmentSequence = [scanner]
    return dataset


def _build_derivation(draft: InstanceDraft) -> Dataset:
    if not draft.is_level:
        return make_dataset(DerivationDescription=_PICTURE_DERIVATION)
    dataset = make_dataset(
        DerivationDescription=describe_derivation(draft.spec),
        DerivationCodeSequence=[make_code_item(codes.DCM.SpatialResampling)],
    )
    if draft.context.instances:
        series = make_dataset(
            SeriesInstanceUID=draft.context.series,
            ReferencedInstanceSequence=[_make_reference(instance) for instance in draft.context.instances],
        )
        dataset.SourceImageSequence = build_source_references(draft)
        dataset.ReferencedSeriesSequence = [series]
    return dataset


def _make_reference(instance: str) -> Dataset:
    return make_dataset(ReferencedSOPClassUID=WHOLE_SLIDE_CLASS_UID, ReferencedSOPInstanceUID=instance)
