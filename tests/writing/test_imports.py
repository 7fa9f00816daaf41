"""Writing a TIFF imports no library that only other layouts need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from wsisr.__main__ import main
sys.argv = ["wsisr", "upscale", *sys.argv[1:], "--region", "800,1000,64,64", "--model", "bicubic", "--scale", "2"]
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def list_imports(slide: Path, output: Path) -> set[str]:
    """Return the modules that `wsisr upscale` has imported when it ends."""
    command = [sys.executable, "-c", SCRIPT, str(slide), "-o", str(output)]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert output.exists()
    return set(completed.stderr.split())


def test_a_tiff_is_written_and_verified_without_importing_zarr(cmu_slide: Path, tmp_path: Path) -> None:
    assert not list_imports(cmu_slide, tmp_path / "a.ome.tif") & {"zarr", "numcodecs", "fsspec", "torch"}


def test_an_ome_zarr_is_verified_by_the_zarr_library(cmu_slide: Path, tmp_path: Path) -> None:
    assert "zarr" in list_imports(cmu_slide, tmp_path / "a.ome.zarr")
