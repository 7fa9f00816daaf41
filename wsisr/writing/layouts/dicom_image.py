"""What an instance of a DICOM slide states about its pixels: how they are stored, where they lie, in what light."""

from __future__ import annotations

from functools import lru_cache

from PIL import ImageCms
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, JPEG2000Lossless, JPEGBaseline8Bit
from pydicom.valuerep import DSfloat

from wsisr.slides.dicom_context import GlassPosition
from wsisr.slides.lossy_compression import LossyCompression
from wsisr.writing.layouts.dicom_attributes import build_source_references, describe_derivation
from wsisr.writing.layouts.dicom_instance import InstanceDraft, InstanceUids, make_code_item, make_dataset

TRANSFER_SYNTAXES: dict[str, UID] = {"jpeg": JPEGBaseline8Bit, "jpeg2000-rgb": JPEG2000Lossless}
"""Methods that compress tiles, to the syntaxes that name them."""

_PHOTOMETRIC = {"jpeg": "YBR_FULL_422", "jpeg2000-rgb": "RGB"}
"""JPEG in YCbCr is named so whatever its subsampling, which each frame tells its decoder (PS3.5, 8.2.1)."""

_LOSSY_METHODS = {"jpeg": "ISO_10918_1"}

_THICKNESS_MM = 0.001
"""Thickness of what is in focus: DICOM requires one, and slides do not record it."""

_OPTICAL_PATH = "1"
"""Identifier of the only optical path."""

_PROFILE_DATE = slice(24, 36)
"""Bytes of an ICC profile that say when it was made (ICC.1, 7.2.8)."""


def build_image(draft: InstanceDraft) -> Dataset:
    """Return the elements that describe the pixels of an instance."""
    dataset = _build_pixels(draft)
    dataset.update(_build_compression(draft))
    dataset.update(_build_placement(draft))
    dataset.update(_build_organization(draft.uids))
    dataset.OpticalPathSequence = [_build_optical_path(draft)]
    dataset.SharedFunctionalGroupsSequence = [_build_functional_groups(draft)]
    return dataset


def _build_pixels(draft: InstanceDraft) -> Dataset:
    label_in_image = "NO" if draft.is_level else "YES"
    return make_dataset(
        ImageType=draft.image_type,
        SamplesPerPixel=3,
        PhotometricInterpretation=_PHOTOMETRIC[draft.spec.codec.method],
        PlanarConfiguration=0,
        NumberOfFrames=len(draft.encoded_sizes),
        Rows=draft.frame_size.height,
        Columns=draft.frame_size.width,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelRepresentation=0,
        TotalPixelMatrixColumns=draft.size.width,
        TotalPixelMatrixRows=draft.size.height,
        TotalPixelMatrixFocalPlanes=1,
        NumberOfOpticalPaths=1,
        VolumetricProperties="VOLUME",
        SpecimenLabelInImage=label_in_image,
        FocusMethod="AUTO",
        ExtendedDepthOfField="NO",
    )


def _build_compression(draft: InstanceDraft) -> Dataset:
    """Return which lossy compressions the pixels went through; once lossy, an image remains so (PS3.3, C.7.6.1.1.5)."""
    method = _LOSSY_METHODS.get(draft.spec.codec.method)
    compressions = list(draft.context.compressions)
    if method:
        compressions.append(LossyCompression(method, draft.compression_ratio))
    if not compressions:
        return make_dataset(LossyImageCompression="00")
    return make_dataset(
        LossyImageCompression="01",
        LossyImageCompressionRatio=[_make_decimal(round(each.ratio, 2)) for each in compressions],
        LossyImageCompressionMethod=[each.method for each in compressions],
    )


def _build_placement(draft: InstanceDraft) -> Dataset:
    """Return size and place on the glass. All levels begin at the same corner: wsidicom makes no pyramid of others.

    The place of pictures is not known, and neither is their size; DICOM requires the place.
    """
    position = draft.context.position if draft.is_level else GlassPosition()
    dataset = make_dataset(
        TotalPixelMatrixOriginSequence=[_build_origin_item(position)],
        ImageOrientationSlide=[_make_decimal(cosine) for cosine in position.orientation],
    )
    if draft.is_level:
        dataset.ImagedVolumeWidth = draft.size.width * draft.spacing_mm
        dataset.ImagedVolumeHeight = draft.size.height * draft.spacing_mm
        dataset.ImagedVolumeDepth = _THICKNESS_MM
    return dataset


def _build_origin_item(position: GlassPosition) -> Dataset:
    item = make_dataset(
        XOffsetInSlideCoordinateSystem=_make_decimal(position.x_mm),
        YOffsetInSlideCoordinateSystem=_make_decimal(position.y_mm),
    )
    if position.z_um is not None:
        item.ZOffsetInSlideCoordinateSystem = _make_decimal(position.z_um)
    return item


def _build_organization(uids: InstanceUids) -> Dataset:
    organization = make_dataset(DimensionOrganizationUID=uids.make_own("dimensions"))
    return make_dataset(DimensionOrganizationType="TILED_FULL", DimensionOrganizationSequence=[organization])


def _build_optical_path(draft: InstanceDraft) -> Dataset:
    item = make_dataset(
        IlluminationTypeCodeSequence=[make_code_item(codes.DCM.BrightfieldIllumination)],
        IlluminationColorCodeSequence=[make_code_item(codes.SCT.FullSpectrum)],
    )
    item.update(draft.context.optical_path)
    item.OpticalPathIdentifier = _OPTICAL_PATH
    item.ICCProfile = (draft.spec.icc if draft.is_level else None) or make_srgb_profile()
    if "ObjectiveLensPower" in item:
        del item.ObjectiveLensPower
    if draft.spec.magnification is not None:
        item.ObjectiveLensPower = _make_decimal(draft.spec.magnification)
    return item


def _build_functional_groups(draft: InstanceDraft) -> Dataset:
    """Return what holds of every frame."""
    measures = Dataset()
    if draft.is_level:
        spacing = _make_decimal(draft.spacing_mm)
        measures = make_dataset(PixelSpacing=[spacing, spacing], SliceThickness=_THICKNESS_MM)
    groups = make_dataset(
        PixelMeasuresSequence=[measures],
        WholeSlideMicroscopyImageFrameTypeSequence=[make_dataset(FrameType=draft.image_type)],
        OpticalPathIdentificationSequence=[make_dataset(OpticalPathIdentifier=_OPTICAL_PATH)],
    )
    if draft.is_level and draft.context.instances:
        derivation = make_dataset(
            DerivationDescription=describe_derivation(draft.spec),
            DerivationCodeSequence=[make_code_item(codes.DCM.SpatialResampling)],
            SourceImageSequence=build_source_references(draft),
        )
        groups.DerivationImageSequence = [derivation]
    return groups


@lru_cache(maxsize=1)
def make_srgb_profile() -> bytes:
    """Return a profile of sRGB, the same bytes at any time."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[_PROFILE_DATE] = bytes([7, 208, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0])  # the first of January 2000
    return bytes(profile)


def _make_decimal(value: float) -> DSfloat:
    """Return a decimal string, which has room for 16 characters."""
    return DSfloat(value, auto_format=True)
