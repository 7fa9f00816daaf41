"""What a DICOM output states beside its pixels, from the slide that it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsisr.errors import SlideError
from wsisr.slides.lossy_compression import estimate_lossy_compression
from wsisr.slides.region import SlideRegion
from wsisr.slides.wrappers.srgb import CONVERTED_TO_SRGB

if TYPE_CHECKING:  # pydicom takes 0.2 s to import
    from wsisr.slides.dicom_context import DicomContext

DICOM_LAYOUT = "dicom"


def read_output_context(region: SlideRegion, *, deidentify: bool) -> DicomContext:
    """Return what the output of a region states: the slide's own attributes, if it is DICOM, and the region's place.

    With `deidentify` nothing that tells the patient, the study, the specimen, the scanner or the slide.
    Raises `SlideError` where the slide's header cannot be read.
    """
    from wsisr.slides.dicom_context import DicomContext, read_dicom_context  # noqa: PLC0415 - see above

    info = region.slide.info
    try:
        if info.vendor == "dicom":
            context = read_dicom_context(info, region.level)
        else:
            lossy = estimate_lossy_compression(info)
            context = DicomContext(compressions=(lossy,) if lossy else ())
    except OSError as error:
        raise SlideError(f"{info.path}: cannot be read ({error.strerror}); copy the slide again") from error
    right_mm, down_mm = (edge * (info.mpp or 0.0) / 1000 for edge in region.level0_origin)
    return (context.remove_identity() if deidentify else context).move(right_mm, down_mm)


def context_metadata(region: SlideRegion, *, deidentify: bool) -> dict[str, str]:
    """Return metadata on what a DICOM output states that others do not."""
    info, metadata = region.slide.info, {}
    if info.vendor == "dicom":
        metadata["identity"] = "left out" if deidentify else "patient, study and specimen as in the slide"
    if info.icc is None and info.colour_handling != CONVERTED_TO_SRGB:
        metadata["colour profile"] = "none in the slide; sRGB is assumed, for DICOM requires one"
    return metadata
