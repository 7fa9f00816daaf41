#!/usr/bin/env bash
# pyvips-binary 8.18.7: resize(2) keeps the centre of the picture in its place, as Pillow, OpenCV and scikit-image do, one
# would think. An edge between two rows in the middle comes out half a pixel of the result further on, with every kernel; a
# comparison with another enlargement, pixel by pixel, then compares shifted pictures. Shrinking is centred.
#
# Seen: factor 2: libvips 64.50, Pillow 64.00; factor 4: libvips 128.49, Pillow 128.00; factor 1/2: libvips 16.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 pillow==13.0.0 pyvips==3.2.0 pyvips-binary==8.18.7
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import pyvips
from PIL import Image


def edge(pixels: np.ndarray) -> float:
    """Where the middle column passes from below to above half of white, in px from the top."""
    column = pixels[:, pixels.shape[1] // 2].astype(float)
    row = np.flatnonzero((column[:-1] < 127.5) & (column[1:] >= 127.5))[0]
    return float(row + 0.5 + (127.5 - column[row]) / (column[row + 1] - column[row]))


pixels = np.zeros((64, 64), np.uint8)
pixels[32:] = 255
for factor in (2, 4):
    by_vips = edge(pyvips.Image.new_from_array(pixels).cast("uchar").resize(factor, kernel="cubic").numpy())
    by_pillow = edge(np.asarray(Image.fromarray(pixels).resize((64 * factor, 64 * factor), Image.Resampling.BICUBIC)))
    print(f"factor {factor}: libvips {by_vips:.2f}, Pillow {by_pillow:.2f}, centred would be {32 * factor}")
    assert abs(by_pillow - 32 * factor) < 0.01
    assert abs(by_vips - 32 * factor - 0.5) < 0.02
shrunk = edge(pyvips.Image.new_from_array(pixels).cast("uchar").resize(0.5, kernel="cubic").numpy())
print(f"factor 1/2: libvips {shrunk:.2f}, centred would be 16")
assert abs(shrunk - 16) < 0.01
PYTHON
