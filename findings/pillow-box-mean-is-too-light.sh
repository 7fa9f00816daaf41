#!/usr/bin/env bash
# Pillow 13.0.0: Image.resize with Resampling.BOX at half the size is the mean of 2 x 2 pixels, one would think: rounded once,
# and right on average. In 8 bits it rounds after each of its two passes, both times upwards at a half: half a grey level
# too light on average at factor 2, a quarter at factor 4. Image.reduce rounds once: an eighth, and next to nothing.
# A network that is trained on such means learns to darken what it is given.
#
# Seen: factor 2: resize +0.500, reduce +0.125; factor 4: resize +0.249, reduce +0.031
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 pillow==13.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from PIL import Image

pixels = np.random.default_rng(0).integers(0, 256, (512, 512), dtype=np.uint8)
picture = Image.fromarray(pixels)
for factor, of_resize, of_reduce in ((2, 0.5, 0.125), (4, 0.249, 0.031)):
    side = 512 // factor
    mean = pixels.reshape(side, factor, side, factor).mean(axis=(1, 3))
    resized = np.asarray(picture.resize((side, side), Image.Resampling.BOX)) - mean
    reduced = np.asarray(picture.reduce(factor)) - mean
    print(f"factor {factor}: resize {resized.mean():+.3f}, reduce {reduced.mean():+.3f} grey levels from the mean")
    assert abs(resized.mean() - of_resize) < 0.01
    assert abs(reduced.mean() - of_reduce) < 0.01
PYTHON
