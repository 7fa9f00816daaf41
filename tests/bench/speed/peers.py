"""wsisr beside what else there is, from the same slide to the same kind of file, in turns.

    python -m tests.bench peers SLIDE [--mpx 16] [--scales 2 4] [--network-mpx 2] [--rounds 3] [--json FILE]

`--model bicubic` beside `vips resize` (kernel cubic) and `tiffsave` in this process, and beside the vips command where
there is one: JPEG 85 in 4:2:0 (libvips leaves YCbCr at 90) in tiles of 256 px, a whole pyramid. wsisr reads the file
again and measures it; libvips does neither. Then the same network in wsi-tile-processor: at scale 1, which is all it
does, that is with every second pixel of what the network gives; tile beside tile, where seams show, and as overlapping
as its README has it. `times as fast` is the median over the turns; `by processor time` counts what each used of the
cores instead of the clock, and is what a machine shows that has other work.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import pyvips

from tests.bench.repeated_slides import repeated, tissue, whole_tiles
from tests.bench.result_tables import Row, report
from wsisr.imaging.pixels import Rgb, RgbBatch
from wsisr.models.loading import load_upscaler
from wsisr.models.upscaler import Upscaler, UpscalerInfo
from wsisr.slides import open_slide
from wsisr.slides.region import select_region
from wsisr.upscaling.engine import upscale_region
from wsisr.upscaling.plan import UpscaleOptions
from wsisr.upscaling.quality import QualityMonitor
from wsisr.writing import Codec, WorkFolder

TILE_PX, QUALITY = 256, 85
SAVING: dict[str, object] = {
    "tile": True,
    "pyramid": True,
    "tile_width": TILE_PX,
    "tile_height": TILE_PX,
    "compression": "jpeg",
    "Q": QUALITY,
}
PEER = "wsi_tile_processor"
PEER_TILE_PX = 512

Job = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Halved:
    """A network at scale 1: every second pixel of what it gives."""

    network: Upscaler
    warnings: tuple[str, ...] = ()

    @property
    def info(self) -> UpscalerInfo:
        return replace(self.network.info, name="network", hardware="as the network", on_gpu=False, scale=1)

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        step = self.network.info.scale
        return np.ascontiguousarray(self.network(tiles)[:, ::step, ::step])


def by_wsisr(path: Path, upscaler: Upscaler, output: Path) -> None:
    with open_slide(path) as slide:
        options = UpscaleOptions(codec=Codec("jpeg", QUALITY, "420"), quality=QualityMonitor(upscaler.info.scale))
        deque(upscale_region(select_region(slide), upscaler, output, options=options, folder=WorkFolder()), 0)


def by_libvips(path: Path, scale: int, output: Path) -> None:
    image = pyvips.Image.new_from_file(str(path), access="sequential")
    image.resize(scale, kernel="cubic").tiffsave(str(output), **SAVING)


def by_command(path: Path, scale: int, output: Path) -> None:
    saving = ",".join(f"{name.replace('_', '-')}={value}" for name, value in SAVING.items())
    subprocess.run(["vips", "resize", str(path), f"{output}[{saving}]", str(scale), "--kernel", "cubic"], check=True)


def by_processor(path: Path, network: Halved, output: Path, stride: int) -> None:
    from wsi_tile_processor import FastWSIProcessor, GaussianWSIProcessor

    def generate(tile: Rgb) -> Rgb:
        pixels: Rgb = network(tile[None])[0]
        return pixels

    options = {
        "wsi_path": path,
        "tiff_path": output,
        "level": 0,
        "tile_size": PEER_TILE_PX,
        "generate": generate,
        "jpeg_quality": QUALITY,
        "background_filter": lambda _tile: False,
    }
    if stride == PEER_TILE_PX:
        FastWSIProcessor(**options).process()
    else:
        GaussianWSIProcessor(**options, stride=stride, blur_sigma=PEER_TILE_PX / 8).process()


@dataclass(frozen=True, slots=True)
class Turn:
    """Seconds that a job took."""

    wall: float
    cpu: float
    """Of all cores together."""

    @classmethod
    def of(cls, job: Job) -> Turn:
        wall, cpu = time.perf_counter(), sum(os.times()[:4])
        job()
        return cls(time.perf_counter() - wall, sum(os.times()[:4]) - cpu)


def turns(jobs: dict[str, Job], output: Path, rounds: int) -> dict[str, list[Turn]]:
    """The first is wsisr's."""
    found: dict[str, list[Turn]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            found[name].append(Turn.of(job))
            output.unlink()
    return found


def rows(task: str, megapixels: float, found: dict[str, list[Turn]]) -> list[Row]:
    """One for each peer."""
    (_, own), *others = found.items()
    return [
        {
            "task": task,
            "peer": name,
            "wsisr Mpx/s": megapixels / median(turn.wall for turn in own),
            "peer Mpx/s": megapixels / median(turn.wall for turn in theirs),
            "times as fast": median(one.wall / other.wall for one, other in zip(theirs, own, strict=True)),
            "by processor time": median(one.cpu / other.cpu for one, other in zip(theirs, own, strict=True)),
        }
        for name, theirs in others
    ]


def bicubic(path: Path, scale: int, rounds: int) -> list[Row]:
    upscaler, output = load_upscaler("bicubic", scale=scale), path.with_suffix(".out.ome.tif")
    jobs: dict[str, Job] = {
        "wsisr": lambda: by_wsisr(path, upscaler, output),
        "libvips": lambda: by_libvips(path, scale, output),
    }
    if shutil.which("vips"):
        jobs["vips command"] = lambda: by_command(path, scale, output)
    with open_slide(path) as slide:
        megapixels = slide.info.size.pixel_count * scale**2 / 1e6
    return rows(f"bicubic x{scale}", megapixels, turns(jobs, output, rounds))


def networks(path: Path, rounds: int) -> list[Row]:
    if importlib.util.find_spec(PEER) is None:
        sys.stderr.write(
            "wsi-tile-processor is not here: pip install --no-deps --target build/peers wsi-tile-processor scipy, "
            "then again with PYTHONPATH=build/peers\n"
        )
        return []
    network, output = Halved(load_upscaler(scale=2, mpp=0.5)), path.with_suffix(".out.ome.tif")
    network(np.zeros((1, TILE_PX, TILE_PX, 3), np.uint8))
    jobs: dict[str, Job] = {
        "wsisr": lambda: by_wsisr(path, network, output),
        "wsi-tile-processor, no overlap": lambda: by_processor(path, network, output, PEER_TILE_PX),
        "wsi-tile-processor, half overlap": lambda: by_processor(path, network, output, PEER_TILE_PX // 2),
    }
    with open_slide(path) as slide:
        megapixels = slide.info.size.pixel_count / 1e6
    return rows("network, scale 1", megapixels, turns(jobs, output, rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--mpx", type=float, default=16.0, help="of the input, for bicubic")
    parser.add_argument("--scales", type=int, nargs="*", default=[2, 4])
    parser.add_argument("--network-mpx", type=float, default=2.0, help="of the input, for the network; 0 for none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    pattern = tissue(asked.slide)
    with TemporaryDirectory() as name:
        large = repeated(Path(name) / "large.tif", whole_tiles(asked.mpx * 1e6), pattern)
        found = [row for scale in asked.scales for row in bicubic(large, scale, asked.rounds)]
        if asked.network_mpx:
            small = repeated(Path(name) / "small.tif", whole_tiles(asked.network_mpx * 1e6), pattern)
            found += networks(small, asked.rounds)
    report(found, asked.json, rounds=asked.rounds)


if __name__ == "__main__":
    main()
