"""Mpx/s of writing a pyramid from pixels in memory: wsisr, libvips in this process, and the vips command if there.

    python -m tests.bench writing SLIDE [--rounds 5] [--copies 2] [--codecs jpeg lzw deflate] [--json FILE]

The pixels are a slide's own, repeated; tiles are of 256 px and of the same codec and quality: JPEG 85 in 4:2:0 (libvips
leaves YCbCr at 90), LZW with differences, deflate without. Both halve the pixels before they are encoded; wsisr also
keeps its tiles in a work folder and brings the file to the disk. `coding alone` encodes and halves each tile and stores
nothing. The writers take turns, so that a busy machine slows all of them; ratios are medians over the turns. `cpu over`
is the same ratio by processor time, which other programs disturb less. A table, or JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import pyvips

from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, halve_image
from wsisr.parallel.threads import ThreadTeam
from wsisr.slides import open_slide
from wsisr.writing import Codec, PyramidSpec, PyramidWriter
from wsisr.writing.encoding.grid import LevelGrid

TILE_PX, BLOCK_PX, QUALITY = 256, 2048, 85
CODECS: dict[str, dict[str, object]] = {
    "jpeg": {"compression": "jpeg", "Q": QUALITY},
    "lzw": {"compression": "lzw", "predictor": "horizontal"},
    "deflate": {"compression": "deflate", "predictor": "none"},
}
"""Ours to what libvips calls the same."""


@dataclass(frozen=True, slots=True)
class Task:
    """What each writer is given."""

    image: Rgb
    raw: Path
    """The same pixels as a file, for the command."""
    codec: str
    output: Path

    @property
    def size(self) -> Size:
        return Size(self.image.shape[1], self.image.shape[0])

    @property
    def vips(self) -> dict[str, object]:
        tiles: dict[str, object] = {"tile": True, "pyramid": True, "tile_width": TILE_PX, "tile_height": TILE_PX}
        return tiles | CODECS[self.codec]


def by_wsisr(task: Task) -> None:
    spec = PyramidSpec(task.size, 0.25, TILE_PX, codec=Codec(task.codec, QUALITY, "420"))
    with PyramidWriter(task.output, spec) as writer:
        for top in range(0, task.size.height, BLOCK_PX):
            for left in range(0, task.size.width, BLOCK_PX):
                box = Box(left, top, left + BLOCK_PX, top + BLOCK_PX).intersection(Box.from_size(task.size))
                writer.write(box, task.image[box.rows, box.columns])
        deque(writer.finish(), 0)


def by_coding(task: Task) -> None:
    codec, crew, pixels = Codec(task.codec, QUALITY, "420"), ThreadTeam(16, "coding"), task.image
    while pixels.size:
        pixels = coded(pixels, codec, crew)
    crew.close()


def coded(pixels: Rgb, codec: Codec, crew: ThreadTeam) -> Rgb:
    """The next level, this one being encoded; nothing after the last."""
    grid = LevelGrid(Size(pixels.shape[1], pixels.shape[0]), TILE_PX)
    above = (
        np.empty((-(-grid.size.height // 2), -(-grid.size.width // 2), 3), np.uint8) if grid.tile_count > 1 else None
    )

    def code(tile: int) -> None:
        box = grid.tile_box(tile)
        codec.encode(pixels[box.rows, box.columns], TILE_PX)
        if above is not None:
            half = halve_image(pixels[box.rows, box.columns])
            top, left = box.top // 2, box.left // 2
            above[top : top + half.shape[0], left : left + half.shape[1]] = half

    crew.for_each(code, range(grid.tile_count))
    return np.empty(0, np.uint8) if above is None else above


def by_libvips(task: Task) -> None:
    image = pyvips.Image.new_from_memory(task.image.data, task.size.width, task.size.height, 3, "uchar")
    image.copy(interpretation="srgb").tiffsave(str(task.output), **task.vips)


def by_command(task: Task) -> None:
    options = ",".join(f"{name.replace('_', '-')}={value}" for name, value in task.vips.items())
    sizes = [str(task.size.width), str(task.size.height), "3"]
    subprocess.run(["vips", "rawload", str(task.raw), f"{task.output}[{options}]", *sizes], check=True)


WRITERS: dict[str, Callable[[Task], None]] = {"wsisr": by_wsisr, "libvips": by_libvips, "coding alone": by_coding}
if shutil.which("vips"):
    WRITERS["vips command"] = by_command


def median_ratio(theirs: list[float], own: list[float]) -> float:
    return median(other / mine for other, mine in zip(theirs, own, strict=True))


def measured(task: Task, rounds: int) -> dict[str, float | str]:
    """Mpx/s of each writer, wsisr's over the others', and its bytes over libvips'."""
    seconds: dict[str, list[float]] = {name: [] for name in WRITERS}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in WRITERS}
    sizes: dict[str, int] = {}
    for _ in range(rounds):
        for name, write in WRITERS.items():
            began, cpu_began = time.perf_counter(), time.process_time()
            write(task)
            seconds[name].append(time.perf_counter() - began)
            cpu_seconds[name].append(time.process_time() - cpu_began)
            if task.output.exists():
                sizes[name] = task.output.stat().st_size
                task.output.unlink()
    speeds = {name: task.size.pixel_count / 1e6 / median(times) for name, times in seconds.items()}
    ratios = {
        f"over {name}": median_ratio(times, seconds["wsisr"]) for name, times in seconds.items() if name != "wsisr"
    }
    ratios["cpu over libvips"] = median_ratio(cpu_seconds["libvips"], cpu_seconds["wsisr"])
    ratios["coding alone over libvips"] = median_ratio(seconds["libvips"], seconds["coding alone"])
    return {"codec": task.codec, **speeds, **ratios, "bytes": sizes["wsisr"] / sizes["libvips"]}


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast a pyramid is written, against libvips.")
    parser.add_argument("slide", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--copies", type=int, default=2, help="of the slide, along each axis")
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=list(CODECS))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with open_slide(asked.slide) as slide, TemporaryDirectory() as name:
        image = np.tile(slide.read(Box.from_size(slide.info.size), 0), (asked.copies, asked.copies, 1))
        raw, output = Path(name) / "pixels.raw", Path(name) / "pyramid.tif"
        image.tofile(raw)
        rows = [measured(Task(image, raw, codec, output), asked.rounds) for codec in asked.codecs]
    cores = len(os.sched_getaffinity(0))
    print(f"{image.shape[1]} x {image.shape[0]} px on {cores} cores, Mpx/s")  # noqa: T201
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))  # noqa: T201
    for row in rows:
        cells = (value if isinstance(value, str) else f"{value:.2f}" for value in row.values())
        print("| " + " | ".join(cells) + " |")  # noqa: T201
    if asked.json:
        asked.json.write_text(json.dumps({"cores": cores, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
