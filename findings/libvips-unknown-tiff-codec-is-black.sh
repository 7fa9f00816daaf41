#!/usr/bin/env bash
# pyvips-binary 8.18.7: a TIFF in a compression that the library was built without is an error, one would think. The file
# opens, has its size and bands, and every pixel is black; no exception is raised. Only fail_on="error" makes it one. The
# wheel lacks zstd and JPEG 2000, both of which pathology TIFFs use.
#
# Seen: lzw 127.9 on average as stored; zstd and jpeg2000 0.0; with fail_on="error" both raise
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 tifffile==2026.3.3 imagecodecs==2026.3.6 pyvips==3.2.0 pyvips-binary==8.18.7
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import pyvips
import tifffile

pixels = np.random.default_rng(0).integers(1, 256, (512, 512, 3), dtype=np.uint8)
print(f"libvips {'.'.join(str(pyvips.version(part)) for part in range(3))}, stored mean {pixels.mean():.1f}")
for codec, is_black in (("lzw", False), ("zstd", True), ("jpeg2000", True)):
    path = f"{codec}.tif"
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb", compression=codec)
    mean = pyvips.Image.new_from_file(path).numpy().mean()
    try:
        pyvips.Image.new_from_file(path, fail_on="error").numpy()
        raised = False
    except pyvips.Error:
        raised = True
    print(f"{codec}: mean {mean:.1f}; with fail_on='error' {'raises' if raised else 'reads'}")
    assert (mean == 0) == is_black
    assert raised == is_black
PYTHON
