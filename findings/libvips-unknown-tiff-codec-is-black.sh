#!/usr/bin/env bash
# pyvips-binary 8.18.7: a TIFF in a compression that the library was built without is an error, one would think. The file
# opens, has its size and bands, and every pixel is black; no exception is raised, not even with fail_on="error". Only
# fail_on="warning" makes it one. The wheel lacks zstd and JPEG 2000, both of which pathology TIFFs use.
#
# Seen: stored mean 127.9; lzw 127.9; zstd and jpeg2000 0.0, with fail_on="error" too; with fail_on="warning" both raise
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
    outcomes = []
    for fail_on in ("none", "error", "warning"):
        try:
            image = pyvips.Image.new_from_file(path, fail_on=fail_on, revalidate=True)
            outcomes.append(f"{image.numpy().mean():.1f}")
        except pyvips.Error:
            outcomes.append("raises")
    print(f"{codec}: fail_on none {outcomes[0]}, error {outcomes[1]}, warning {outcomes[2]}")
    assert outcomes == (["0.0", "0.0", "raises"] if is_black else ["127.9"] * 3)
PYTHON
