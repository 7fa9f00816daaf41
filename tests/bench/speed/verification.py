"""What looking again at a finished file costs, and what its slide's digest does: `python -m tests.bench verification`.

    python -m tests.bench verification SLIDE... [--model MODEL] [--side 40000]

Each slide is enlarged by 2; the check is given as a share of the run without it. Then square files of so many px a
side, of one repeated picture, show what grows with the size.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import numpy as np
from rich import print as show

from wsisr.files import count_file_bytes
from wsisr.imaging.geometry import Size
from wsisr.models.loading import load_upscaler
from wsisr.slides import open_slide
from wsisr.slides.files import hash_slide
from wsisr.slides.region import select_region
from wsisr.upscaling.engine import upscale_region
from wsisr.upscaling.plan import UpscaleOptions
from wsisr.writing import PyramidSpec, PyramidWriter, read_metadata
from wsisr.writing.encoding.grid import LevelGrid
from wsisr.writing.layouts.catalog import select_layout
from wsisr.writing.verification import Expectation, verify_pyramid


def enlarged(slide: Path, output: Path, model: str | None) -> tuple[float, float]:
    """Seconds of the run, and of the digest alone."""
    with open_slide(slide, estimate=True) as opened:
        source = select_region(opened)
        upscaler = load_upscaler(model, scale=2, mpp=source.mpp)
        began = time.perf_counter()
        deque(upscale_region(source, upscaler, output, options=UpscaleOptions(verify=False), overwrite=True), 0)
        run = time.perf_counter() - began
        began = time.perf_counter()
        hash_slide(opened.info, Event())
        return run, time.perf_counter() - began


def write_large(output: Path, side: int) -> PyramidSpec:
    spec = PyramidSpec(Size(side, side), 0.25, codec=select_layout(output).select_codec())
    y, x = np.mgrid[:256, :256]
    picture = np.stack([x, y, (x + y) // 2], axis=-1).astype(np.uint8)
    with PyramidWriter(output, spec) as writer:
        grid = LevelGrid(spec.size, spec.tile_px)
        for tile in range(grid.tile_count):
            box = grid.tile_box(tile)
            writer.write(box, picture[: box.height, : box.width])
        deque(writer.finish(), 0)
    return spec


def checked(output: Path, meant: Expectation) -> float:
    began = time.perf_counter()
    deque(verify_pyramid(output, meant), 0)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slides", nargs="*", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--side", type=int, default=40_000)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        output = Path(folder) / "a.ome.tif"
        for slide in asked.slides:
            run, hashed = enlarged(slide, output, asked.model)
            check = checked(output, Expectation.from_metadata(read_metadata(output)))
            facts = {
                "slide": slide.name,
                "run s": run,
                "digest s": hashed,
                "check s": check,
                "check %": 100 * check / run,
            }
            show({name: round(value, 3) if isinstance(value, float) else value for name, value in facts.items()})
        for name in ("big.ome.tif", "big.ome.zarr"):
            big = Path(folder) / name
            seconds = checked(big, Expectation.from_spec(write_large(big, asked.side)))
            show(
                {
                    "file": name,
                    "side px": asked.side,
                    "MB": count_file_bytes(big) // 10**6,
                    "check s": round(seconds, 3),
                }
            )


if __name__ == "__main__":
    main()
