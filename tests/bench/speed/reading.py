"""Mpx/s of reading level 0: wsisr and plain OpenSlide in boxes of 1024 px, about what `upscale` reads; libvips in rows.

The readers take turns, so that a busy machine slows all of them; ratios are medians over the turns. A table, or JSON.

    python -m tests.bench reading SLIDE... [--rounds 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[3]))

import openslide
import pyvips

from wsisr.imaging.geometry import Box, Size
from wsisr.slides import open_slide

TILE_PX = 1024


def tiles(size: Size) -> Iterator[Box]:
    for top in range(0, size.height, TILE_PX):
        for left in range(0, size.width, TILE_PX):
            yield Box(left, top, left + TILE_PX, top + TILE_PX).intersection(Box.from_size(size))


def by_wsisr(path: Path) -> None:
    with open_slide(path) as slide:
        for box in tiles(slide.info.size):
            slide.read(box, 0)


def by_openslide(path: Path) -> None:
    with openslide.OpenSlide(path) as slide:
        for box in tiles(Size(*slide.dimensions)):
            slide.read_region((box.left, box.top), 0, (box.width, box.height)).convert("RGB")


def by_libvips(path: Path) -> None:
    pyvips.Image.tiffload(str(path), access="sequential").write_to_memory()


READERS: dict[str, Callable[[Path], None]] = {"wsisr": by_wsisr, "openslide": by_openslide, "libvips": by_libvips}


def measured(path: Path, rounds: int) -> dict[str, float | str]:
    """Mpx/s of each reader, and how many times as fast as the others wsisr is."""
    seconds: dict[str, list[float]] = {name: [] for name in READERS}
    for _ in range(rounds):
        for name, read in READERS.items():
            began = time.perf_counter()
            read(path)
            seconds[name].append(time.perf_counter() - began)
    with open_slide(path) as slide:
        megapixels = slide.info.size.pixel_count / 1e6
    speeds = {name: megapixels / median(times) for name, times in seconds.items()}
    ratios = {
        f"over {name}": median(other / own for own, other in zip(seconds["wsisr"], times, strict=True))
        for name, times in seconds.items()
        if name != "wsisr"
    }
    return {"slide": path.name, **speeds, **ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast a slide is read, against OpenSlide and libvips.")
    parser.add_argument("slides", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [measured(path, options.rounds) for path in options.slides]
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))  # noqa: T201
    for row in rows:
        cells = (value if isinstance(value, str) else f"{value:.2f}" for value in row.values())
        print("| " + " | ".join(cells) + " |")  # noqa: T201
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
