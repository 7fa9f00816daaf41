#!/usr/bin/env bash
# Pillow 13.0.0: Image.reduce(n) is the mean of n x n pixels, rounded once to the nearest grey level, one would think. Where n
# is no power of two it multiplies by a reciprocal that is cut off, so that a mean that ought to be rounded up to a level by
# the least possible amount falls to the level below: at n = 3 one pixel in nine, and the picture is a ninth of a level too
# dark. A mean of 14 / 9 becomes 1. Factors 2 and 4 have no such fault (they round ties up, an eighth of a level at 2).
#
# Seen: factor 3: mean -0.109, worst 0.556, 11.0 % not the nearest; 5: -0.040, 4.1 %; 4: +0.029, 0 %; nine pixels of sum 14: 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 pillow==13.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from PIL import Image

for factor, bias, wrong in ((3, -0.109, 0.110), (5, -0.040, 0.041), (4, 0.029, 0.0)):
    side = 200 * factor
    pixels = np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)
    error = np.asarray(Image.fromarray(pixels).reduce(factor)) - pixels.reshape(200, factor, 200, factor).mean(axis=(1, 3))
    share = (np.abs(error) > 0.5).mean()
    print(f"factor {factor}: {error.mean():+.3f} on average, {np.abs(error).max():.3f} at worst, {share:.1%} not the nearest level")
    assert abs(error.mean() - bias) < 0.003
    assert abs(share - wrong) < 0.003

nine = np.array([[2, 2, 2], [2, 2, 1], [1, 1, 1]], np.uint8)
reduced = Image.fromarray(nine).reduce(3).getpixel((0, 0))
print(f"nine pixels of sum {nine.sum()}, mean {nine.mean():.3f}: {reduced}")
assert reduced == 1
PYTHON
