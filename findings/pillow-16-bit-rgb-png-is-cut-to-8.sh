#!/usr/bin/env bash
# Pillow 13.0.0: a PNG with 16 bits a channel in grey opens in a mode of its own, I;16, so one would think that 16-bit RGB is
# refused, or told apart by mode. It opens as RGB, like any 8-bit picture, without a warning and without a word in `info`: the
# high bytes are kept. A picture of a 12-bit camera in a 16-bit PNG, 0 to 4095, so becomes 0 to 15, nearly black, and no check
# of mode or dtype can see it. Only the file's own header says 16.
#
# Seen: grey: I;16, 0 to 4095; RGB: mode RGB, uint8, 0 to 15, 4096 levels became 16, no warning
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 pillow==13.0.0 imagecodecs==2026.3.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import io
import warnings

import imagecodecs
import numpy as np
from PIL import Image

grey = np.arange(4096, dtype=np.uint16).reshape(64, 64)
warnings.simplefilter("error")

picture = Image.open(io.BytesIO(imagecodecs.png_encode(grey)))
pixels = np.asarray(picture)
print(f"grey: mode {picture.mode}, {pixels.dtype}, {pixels.min()} to {pixels.max()}")
assert picture.mode == "I;16" and (pixels == grey).all()

stored = imagecodecs.png_encode(np.dstack([grey] * 3))
picture = Image.open(io.BytesIO(stored))
pixels = np.asarray(picture)
print(f"RGB: mode {picture.mode}, {pixels.dtype}, {pixels.min()} to {pixels.max()}, {len(np.unique(pixels))} levels of 4096, info {picture.info}")
print(f"the header says {stored[24]} bits")
assert picture.mode == "RGB" and pixels.dtype == np.uint8
assert (pixels == (grey >> 8)[..., None]).all()
assert "bits" not in str(picture.info) and stored[24] == 16
PYTHON
