#!/usr/bin/env bash
# Pillow 13.0.0: a bicubic enlargement of an 8-bit image is that of the same image in floating point, rounded, one would
# think. It is not: the first pass is rounded and clipped to 0 to 255 before the second sees it, so overshoot along one axis
# is lost before the other axis can use it. Around the corner of a white square the two differ by many grey levels; who
# compares a float baseline with Pillow's compares two different filters.
#
# Seen: largest difference 11 grey levels
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 pillow==13.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from PIL import Image

pixels = np.zeros((8, 8), np.uint8)
pixels[:4, :4] = pixels[4:, 4:] = 255
in_bytes = Image.fromarray(pixels).resize((16, 16), Image.Resampling.BICUBIC)
in_floats = Image.fromarray(pixels.astype(np.float32)).resize((16, 16), Image.Resampling.BICUBIC)
rounded = np.asarray(in_floats).round().clip(0, 255)
difference = np.abs(np.asarray(in_bytes).astype(float) - rounded).max()
print(f"largest difference {difference:.0f} grey levels")
assert difference == 11
PYTHON
