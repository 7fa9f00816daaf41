#!/usr/bin/env bash
# OpenSlide 4.0.1: level_downsamples of a DICOM slide is how many pixels of level 0 a pixel of the level covers, one would
# think, and each level's PixelSpacing records just that. But OpenSlide takes the mean ratio of the sizes, and scanners pad
# levels to whole tiles (libdicom#79): a level that is 4 times as coarse then counts as 3.5 times as coarse, and whatever is
# found on it (tissue, above all) lies elsewhere on level 0.
#
# Seen: PixelSpacing 0.0005 and 0.002 mm, ratio 4; downsample of OpenSlide 3.5
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 imagecodecs==2026.3.6 pydicom==3.0.2 openslide-python==1.4.7 openslide-bin==4.0.1.2
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import imagecodecs
import numpy as np
import openslide
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, generate_uid

TILE, SPACINGS = 256, (0.0005, 0.002)
study, series, frame_of_reference = generate_uid(), generate_uid(), generate_uid()


def item(**values):
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def write_level(path, width, height, spacing):
    """Write a level of width x height px that is padded to whole tiles, as scanners store it."""
    width, height = (-(-side // TILE) * TILE for side in (width, height))
    kind = "ORIGINAL" if spacing == SPACINGS[0] else "DERIVED"
    level = item(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.6", SOPInstanceUID=generate_uid(), StudyInstanceUID=study,
        SeriesInstanceUID=series, FrameOfReferenceUID=frame_of_reference, Modality="SM",
        ImageType=[kind, "PRIMARY", "VOLUME", "NONE" if kind == "ORIGINAL" else "RESAMPLED"],
        TotalPixelMatrixColumns=width, TotalPixelMatrixRows=height, TotalPixelMatrixFocalPlanes=1,
        SamplesPerPixel=3, PlanarConfiguration=0, PhotometricInterpretation="YBR_FULL_422", BitsAllocated=8,
        BitsStored=8, HighBit=7, PixelRepresentation=0, Rows=TILE, Columns=TILE, NumberOfOpticalPaths=1,
        DimensionOrganizationType="TILED_FULL", ImageOrientationSlide=[0, -1, 0, -1, 0, 0],
        OpticalPathSequence=[item(OpticalPathIdentifier="1")], NumberOfFrames=width * height // TILE**2,
        SharedFunctionalGroupsSequence=[item(PixelMeasuresSequence=[item(PixelSpacing=[spacing, spacing])])],
    )
    level.file_meta = FileMetaDataset()
    level.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    frame = imagecodecs.jpeg8_encode(np.full((TILE, TILE, 3), 200, np.uint8))
    level.PixelData = encapsulate([frame] * level.NumberOfFrames)
    level["PixelData"].VR = "OB"
    level.save_as(path, enforce_file_format=True)


write_level("0.dcm", 1000, 600, SPACINGS[0])
write_level("1.dcm", 250, 150, SPACINGS[1])
slide = openslide.OpenSlide("0.dcm")
downsample, true = slide.level_downsamples[1], SPACINGS[1] / SPACINGS[0]
print(f"OpenSlide {openslide.__library_version__}: levels of {slide.level_dimensions} px")
print(f"PixelSpacing {SPACINGS[0]} and {SPACINGS[1]} mm, ratio {true:g}; downsample of OpenSlide {downsample:g}")
assert true == 4
assert downsample == 3.5
PYTHON
