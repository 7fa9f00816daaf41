"""The viewer beside a DeepZoom server of openslide-python: first picture, and 30 tiles in view:
`python -m tests.bench viewer slide.svs`

Both serve the same slide from this process, on the same server of the standard library, to one client with six
connections, as a browser has. A DeepZoom server decodes, resamples and encodes every tile; the viewer hands stored ones
out. The first picture is everything a page fetches before it shows the slide: page, description and the tiles of the
coarsest levels that fill a screen. `--browser` measures it in Chromium, too, from the address to the last tile drawn.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import openslide
from openslide.deepzoom import DeepZoomGenerator

from tests.bench.result_tables import Row, report
from wsisr.viewer.server import ViewServer
from wsisr.viewer.view import PAGE_FILES, View, ViewRequest

CONNECTIONS = 6
TILES = 30
SCREEN = (1280, 800)
DEEPZOOM_TILE_PX = 254
"""With an overlap of 1 px, as openslide-python's own server has it."""


class DeepZoomHandler(BaseHTTPRequestHandler):
    """Tiles of a DeepZoom generator: `/LEVEL/COLUMN_ROW.jpeg`, encoded as openslide-python's example does."""

    generator: DeepZoomGenerator
    protocol_version = "HTTP/1.1"
    wbufsize = 2**16
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        level, place = self.path.strip("/").split("/")
        column, row = map(int, place.partition(".")[0].split("_"))
        file = BytesIO()
        self.generator.get_tile(int(level), (column, row)).save(file, "jpeg", quality=75)
        self.send_response(200)
        self.send_header("Content-Length", str(file.tell()))
        self.end_headers()
        self.wfile.write(file.getvalue())

    def log_message(self, *_words: object) -> None:
        pass


@contextmanager
def run_server(server: ThreadingHTTPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fetch_all(port: int, paths: Sequence[str]) -> float:
    """Fetch paths over six connections, and return the seconds that it took."""
    local = threading.local()

    def fetch(path: str) -> None:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection("127.0.0.1", port)
        local.connection.request("GET", path)
        response = local.connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        if local.connection not in opened:
            opened.append(local.connection)

    opened: list[http.client.HTTPConnection] = []
    began = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(fetch, paths))
    seconds = time.perf_counter() - began
    for connection in opened:
        connection.close()
    return seconds


def choose_tiles(columns: int, rows: int, count: int) -> list[tuple[int, int]]:
    """Return the places of about `count` neighbouring tiles in the middle of a level, as a screen shows them."""
    wide = min(columns, 6)
    high = min(rows, -(-count // wide))
    left, top = (columns - wide) // 2, (rows - high) // 2
    return [(left + x, top + y) for y in range(high) for x in range(wide)][:count]


def measure_viewer(path: Path) -> dict[str, float]:
    """Return seconds of each step, with the slide opened anew, so that nothing is cached."""
    began = time.perf_counter()
    with View(ViewRequest([path])) as view, ViewServer(view) as server, run_server(server) as port:
        opened = time.perf_counter() - began
        levels = view.images[0].pyramid.levels

        def tile_paths(number: int, count: int) -> list[str]:
            kind = "jpg" if levels[number].is_jpeg else "png"
            places = choose_tiles(levels[number].columns, levels[number].rows, count)
            return [f"/{server.token}/tiles/0/{number}/{x}_{y}.{kind}" for x, y in places]

        first = len(levels) - 1
        while first and max(levels[first].size.width / SCREEN[0], levels[first].size.height / SCREEN[1]) < 1:
            first -= 1
        page = [f"/{server.token}/{name}" for name in ("", *PAGE_FILES, "ol.js", "ol.css", "view.json")]
        picture = fetch_all(port, [*page, *tile_paths(first, 10**4)])
        return {"first picture": opened + picture, f"{TILES} tiles": fetch_all(port, tile_paths(0, TILES))}


def measure_deepzoom(path: Path) -> dict[str, float]:
    began = time.perf_counter()
    with openslide.OpenSlide(str(path)) as slide:
        generator = DeepZoomGenerator(slide, DEEPZOOM_TILE_PX, 1)
        handler = type("Handler", (DeepZoomHandler,), {"generator": generator})
        with run_server(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as port:
            opened = time.perf_counter() - began

            def tile_paths(number: int, count: int) -> list[str]:
                columns, rows = generator.level_tiles[number]
                return [f"/{number}/{x}_{y}.jpeg" for x, y in choose_tiles(columns, rows, count)]

            fits = [
                number
                for number, (width, height) in enumerate(generator.level_dimensions)
                if max(width / SCREEN[0], height / SCREEN[1]) >= 1
            ]
            first = fits[0] if fits else generator.level_count - 1
            picture = fetch_all(port, tile_paths(first, 10**4))
            tiles = fetch_all(port, tile_paths(generator.level_count - 1, TILES))
            return {"first picture": opened + picture, f"{TILES} tiles": tiles}


def measure_in_chromium(path: Path, program: str) -> dict[str, float]:
    """Return seconds from the address of the page to its first whole picture, and from there to 30 tiles at 1:1."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        with View(ViewRequest([path])) as view, ViewServer(view) as server, run_server(server):
            page = browser.new_page(viewport={"width": SCREEN[0], "height": SCREEN[1]})
            wait = "async () => { while (!(CONDITION)) await new Promise(requestAnimationFrame); }"
            began = time.perf_counter()
            page.goto(server.url, wait_until="commit")
            page.evaluate(wait.replace("CONDITION", "document.documentElement.hasAttribute('data-drawn')"))
            first = time.perf_counter() - began
            began = time.perf_counter()
            page.evaluate(
                """async () => {
                    const { view, panes } = wsisrView;
                    view.setResolution(panes.maps[0].images[0].mpp);
                    await new Promise((done) => panes.maps[0].once('rendercomplete', done));
                }"""
            )
            tiles = time.perf_counter() - began
        browser.close()
    return {"first picture": first, f"{TILES} tiles": tiles}


def take_medians(measure: Callable[[], dict[str, float]], times: int) -> dict[str, float]:
    trials = [measure() for _ in range(times)]
    return {step: statistics.median(trial[step] for trial in trials) for step in trials[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("slide", type=Path)
    parser.add_argument("--times", type=int, default=5, help="trials, of which the median counts")
    parser.add_argument("--browser", metavar="PROGRAM", help="measure in this Chromium, too")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    measure_viewer(arguments.slide)  # imports, and the file in the system's cache
    viewer = take_medians(lambda: measure_viewer(arguments.slide), arguments.times)
    deepzoom = take_medians(lambda: measure_deepzoom(arguments.slide), arguments.times)
    rows: list[Row] = [
        {
            "step": step,
            "wsisr s": viewer[step],
            "DeepZoom s": deepzoom[step],
            "times as fast": deepzoom[step] / viewer[step],
        }
        for step in viewer
    ]
    if arguments.browser:
        seen = take_medians(lambda: measure_in_chromium(arguments.slide, arguments.browser), arguments.times)
        rows = [row | {"in Chromium s": seen[str(row["step"])]} for row in rows]
    report(rows, arguments.json, slide=arguments.slide.name, openslide=openslide.__version__)


if __name__ == "__main__":
    main()
