#!/usr/bin/env bash
# slideio 2.10.0: a block of an RGB image has its colours in one order, whatever the file's format, one would think. From
# TIFF read_block gives red, green, blue; from Zeiss CZI it gives blue, green, red, as they are stored, under the names
# "Channel:0:1" to "Channel:0:3". libCZI does so, too, but names the pixel type Bgr24; of slideio's scene nothing tells.
# A stain separation or a network sees haematoxylin in the colour of eosin.
#
# Seen: stored RGB 200 30 40; from TIFF 200 30 40; from CZI 40 30 200, channels Channel:0:1, Channel:0:2, Channel:0:3
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 tifffile==2026.3.3 slideio==2.10.0 pylibCZIrw==6.1.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import slideio
import tifffile
from pylibCZIrw import czi

RGB = (200, 30, 40)
pixels = np.full((256, 256, 3), RGB, np.uint8)
tifffile.imwrite("a.tif", pixels, photometric="rgb")
with czi.create_czi("a.czi") as file:
    file.write(np.ascontiguousarray(pixels[..., ::-1]))  # libCZI takes blue, green, red
    file.write_metadata("a", scale_x=0.5e-6, scale_y=0.5e-6)


def read(path, driver):
    scene = slideio.open_slide(path, driver).get_scene(0)
    names = [scene.get_channel_name(number) for number in range(scene.num_channels)]
    return tuple(int(value) for value in scene.read_block()[100, 100]), names


(from_tiff, _), (from_czi, names) = read("a.tif", "GDAL"), read("a.czi", "CZI")
print(f"stored RGB {RGB}; from TIFF {from_tiff}; from CZI {from_czi}, channels {', '.join(names)}")
assert from_tiff == RGB
assert from_czi == RGB[::-1]
assert not any(colour in name.lower() for name in names for colour in ("red", "green", "blue", "bgr"))
PYTHON
