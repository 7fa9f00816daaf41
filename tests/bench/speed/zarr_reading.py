"""Reading OME-Zarr by our reader and by the zarr library, in turns: `python -m tests.bench zarr_reading SLIDE`.

    python -m tests.bench zarr_reading SLIDE [--rounds 7] [--box-px 512] [--json FILE]

Level 0 of a slide is stored in several ways, then read in boxes with 20 px around, row by row, as `upscale` reads it:
by wsisr; by wsisr with the zarr library in place of our `ChunkedArray` (the same cache and threads); and by the zarr
library alone, a box at a time. Ratios are medians over the rounds: above 1 ours is faster. CPU time, of all threads, is
the number to trust on a busy machine. zarr runs its own codecs, without a bound on what a chunk may decode to, so that
it is seen at its best.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc, GZip, Zstd
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from tests.bench.result_tables import report
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import open_slide
from wsisr.slides.readers.ome_zarr import ZarrLevel, ZarrSlide, open_zarr
from wsisr.slides.readers.zarr_array import ChunkCodec, ChunkIndex

AROUND_PX = 20
CHUNK, SHARD = (3, 256, 256), (3, 1024, 1024)

STORES: dict[str, dict[str, Any]] = {
    "v2 zstd": {"zarr_format": 2, "compressors": Zstd(level=3)},
    "v2 blosc": {"zarr_format": 2, "compressors": Blosc(cname="lz4", shuffle=Blosc.BITSHUFFLE)},
    "v2 gzip": {"zarr_format": 2, "compressors": GZip(level=5)},
    "v3 zstd": {"compressors": ZstdCodec(level=3)},
    "v3 blosc": {"compressors": BloscCodec(cname="lz4", typesize=1, shuffle="bitshuffle")},
    "v3 gzip": {"compressors": GzipCodec(level=5)},
    "v3 zstd, shards": {"compressors": ZstdCodec(level=3), "shards": SHARD},
    "v3 blosc, shards": {"compressors": BloscCodec(cname="lz4", typesize=1, shuffle="bitshuffle"), "shards": SHARD},
}


@dataclass(frozen=True, slots=True)
class LibraryArray:
    """Chunks of an array through the zarr library, in place of `ChunkedArray`."""

    array: Any
    codec: ChunkCodec

    def read_chunk(self, index: ChunkIndex) -> Any:
        chunk = self.codec.chunk_shape
        starts = [number * side for number, side in zip(index, chunk, strict=True)]
        pixels = self.array[tuple(slice(start, start + side) for start, side in zip(starts, chunk, strict=True))]
        if pixels.shape == chunk:
            return pixels
        whole = np.full(chunk, 255, np.uint8)  # at the border the library gives only what lies in the array
        whole[tuple(map(slice, pixels.shape))] = pixels
        return whole


def write_array(folder: Path, pixels: Rgb, options: dict[str, Any]) -> Path:
    """Write an OME-Zarr of one level."""
    version = options.get("zarr_format", 3)
    group = zarr.create_group(folder, zarr_format=version)
    array = group.create_array(
        "0", shape=(3, *pixels.shape[:2]), dtype="uint8", chunks=CHUNK, **_without_format(options)
    )
    array[...] = np.moveaxis(pixels, -1, 0)
    axes = [{"name": "c", "type": "channel"}, *({"name": axis, "type": "space"} for axis in "yx")]
    scale = {"type": "scale", "scale": [1.0, 1.0, 1.0]}
    multiscale: Any = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}
    attributes = {"multiscales": [multiscale | {"version": "0.4"}]}
    group.attrs.update(attributes if version == 2 else {"ome": {"version": "0.5", "multiscales": [multiscale]}})
    return folder


def _without_format(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "zarr_format"}


def boxes(size: Size, box_px: int) -> Iterator[Box]:
    for top in range(0, size.height, box_px):
        for left in range(0, size.width, box_px):
            box = Box(left, top, left + box_px, top + box_px).expand(AROUND_PX)
            yield box.intersection(Box.from_size(size))


def read_by_wsisr(folder: Path, box_px: int) -> None:
    info, levels = open_zarr(folder)
    with ZarrSlide(info, levels) as slide:
        for box in boxes(info.size, box_px):
            slide.read(box, 0)


def read_chunks_by_zarr(folder: Path, box_px: int) -> None:
    info, levels = open_zarr(folder)
    array: Any = LibraryArray(zarr.open_array(folder / "0", mode="r"), levels[0].array.codec)
    library_levels: tuple[ZarrLevel, ...] = (replace(levels[0], array=array),)
    with ZarrSlide(info, library_levels) as slide:
        for box in boxes(info.size, box_px):
            slide.read(box, 0)


def read_boxes_by_zarr(folder: Path, box_px: int) -> None:
    array = zarr.open_array(folder / "0", mode="r")
    for box in boxes(Size(array.shape[2], array.shape[1]), box_px):
        np.ascontiguousarray(np.moveaxis(np.asarray(array[:, box.rows, box.columns]), 0, -1))


READERS: dict[str, Callable[[Path, int], None]] = {
    "wsisr": read_by_wsisr,
    "zarr chunks": read_chunks_by_zarr,
    "zarr boxes": read_boxes_by_zarr,
}


def measure(name: str, folder: Path, megapixels: float, rounds: int, box_px: int) -> dict[str, float | str]:
    """Mpx/s of each reader; how many times its time, and its CPU time over all threads, is that of ours."""
    wall: dict[str, list[float]] = {reader: [] for reader in READERS}
    cpu: dict[str, list[float]] = {reader: [] for reader in READERS}
    for _ in range(rounds):
        for reader, read in READERS.items():
            began, cpu_began = time.perf_counter(), time.process_time()
            read(folder, box_px)
            wall[reader].append(time.perf_counter() - began)
            cpu[reader].append(time.process_time() - cpu_began)
    row: dict[str, float | str] = {"stored": name, "wsisr, Mpx/s": megapixels / median(wall["wsisr"])}
    for reader in list(READERS)[1:]:
        row[f"{reader}, Mpx/s"] = megapixels / median(wall[reader])
        row[f"{reader}, time over ours"] = _median_ratio(wall[reader], wall["wsisr"])
        row[f"{reader}, CPU time over ours"] = _median_ratio(cpu[reader], cpu["wsisr"])
    return row


def _median_ratio(others: Sequence[float], ours: Sequence[float]) -> float:
    return median(other / own for other, own in zip(others, ours, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast OME-Zarr is read, against the zarr library.")
    parser.add_argument("slide", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--box-px", type=int, default=512)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with open_slide(options.slide, estimate=True) as slide:
        pixels = slide.read(Box.from_size(slide.info.size), 0)
    rows = []
    with TemporaryDirectory() as folder:
        for number, (name, store) in enumerate(STORES.items()):
            path = write_array(Path(folder) / f"{number}.zarr", pixels, store)
            megapixels = pixels.shape[0] * pixels.shape[1] / 1e6
            rows.append(measure(name, path, megapixels, options.rounds, options.box_px))
    report(rows, options.json, zarr=zarr.__version__, rounds=options.rounds)


if __name__ == "__main__":
    main()
