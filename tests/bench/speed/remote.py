"""A slide by URL beside the same slide of this machine: time and bytes: `python -m tests.bench remote`.

    python -m tests.bench remote [SLIDE] [--latency-ms 20] [--region X,Y,W,H] [--json FILE]

Each request to the server of HTTP, on this machine, waits for the latency first. The result of both is compared tile by
tile.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from pathlib import Path
from tempfile import TemporaryDirectory

import tifffile

from tests.bench.result_tables import Row, report
from tests.support.http_server import serve_folder
from tests.support.samples import CMU_SLIDE
from wsisr.imaging.geometry import Box
from wsisr.models import loading
from wsisr.slides import open_slide
from wsisr.upscaling.job import run_job
from wsisr.upscaling.request import UpscaleRequest


def enlarge(slide: Path | str, output: Path, region: list[int] | None) -> float:
    """Return the seconds of a run."""
    began = time.perf_counter()
    request = UpscaleRequest(slide, scale=2, model="bicubic", region=region, output=output)
    deque(run_job(request, loading), 0)
    return time.perf_counter() - began


def read_stored_bytes(path: Path) -> list[bytes]:
    """Return all tiles of a result as they are stored."""
    with tifffile.TiffFile(path) as tiff:
        pages = [level.keyframe for level in tiff.series[0].levels]
        places = [place for page in pages for place in zip(page.dataoffsets, page.databytecounts, strict=True)]
    with path.open("rb") as file:
        return [file.read(count) for offset, count in places if file.seek(offset) >= 0]


def count_needed_bytes(slide: Path, region: list[int] | None) -> int:
    """Return the stored bytes of the tiles of level 0 that the region touches."""
    with tifffile.TiffFile(slide) as tiff:
        page = tiff.pages.first
        left, top, width, height = region or (0, 0, page.imagewidth, page.imagelength)
        box, columns = Box(left, top, left + width, top + height), -(-page.imagewidth // page.tilewidth)
        return sum(
            page.databytecounts[row * columns + column]
            for row in range(box.top // page.tilelength, -(-box.bottom // page.tilelength))
            for column in range(box.left // page.tilewidth, -(-box.right // page.tilewidth))
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path, nargs="?", default=CMU_SLIDE)
    parser.add_argument("--latency-ms", type=float, default=20)
    parser.add_argument("--region", help="px of level 0; all of it by default")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    region = [int(part) for part in options.region.split(",")] if options.region else None
    slide = options.slide.resolve()
    with TemporaryDirectory() as name, serve_folder(slide.parent, latency_s=options.latency_ms / 1000) as server:
        local, remote = Path(name, "local.ome.tif"), Path(name, "remote.ome.tif")
        url = f"{server.url}/{slide.name}"
        with open_slide(url):
            header_bytes = server.sent_bytes
        local_s = enlarge(slide, local, region)
        remote_s = enlarge(url, remote, region)
        rows: list[Row] = [
            {"slide": "this machine", "seconds": local_s, "requests": 0, "bytes": 0, "same tiles": "yes"},
            {
                "slide": f"http, {options.latency_ms:g} ms",
                "seconds": remote_s,
                "requests": server.requests,
                "bytes": float(server.sent_bytes),
                "same tiles": "yes" if read_stored_bytes(local) == read_stored_bytes(remote) else "no",
            },
        ]
        needed = count_needed_bytes(slide, region)
        share = (server.sent_bytes - header_bytes) / needed
        report(rows, options.json, header_bytes=header_bytes, needed_bytes=needed, bytes_per_needed=round(share, 3))


if __name__ == "__main__":
    main()
