#!/usr/bin/env bash
# scikit-image 0.26.0: phase_cross_correlation returns the shift, and an error that is 0 for a perfect match, one would think
# and its documentation says. With the default normalization of the phase the error is next to 1 for an image and itself, as
# for any other pair: it says nothing, and a gate that trusts it accepts or refuses everything. The shift is right. With
# normalization=None the error is 0.
#
# Seen: image and itself: error 1.000; with normalization=None: 0.000
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 scikit-image==0.26.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import skimage
from skimage.registration import phase_cross_correlation

image = np.random.default_rng(0).random((128, 128))
shift, error, _ = phase_cross_correlation(image, image)
_, plain_error, _ = phase_cross_correlation(image, image, normalization=None)
print(f"scikit-image {skimage.__version__}, image and itself: shift {shift}, error {error:.3f}")
print(f"with normalization=None: error {plain_error:.3f}")
assert not shift.any()
assert error > 0.99
assert plain_error < 0.01
PYTHON
