"""The viewer beside a DeepZoom server of openslide-python: first picture, and 30 tiles in view:
`python -m tests.bench viewer slide.svs`

Both serve the same slide from this process, on the same server of the standard library, to one client with six
connections, as a browser has. A DeepZoom server decodes, resamples and encodes every tile; the viewer hands stored ones
out. The first picture is everything a page fetches before it shows the slide: page, description and the tiles of the
coarsest levels that fill a screen. `--browser` measures it in Chromium, too, in turns: from the address to the overview
and to the last tile drawn, beside a page without any script whose HTML names the DeepZoom tiles that fill the screen.
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
        first, *rest = self.path.strip("/").split("/")
        is_page = first == "page"
        body = self.write_page(*rest) if is_page else self.encode_tile(int(first), rest[0]) if rest else b""
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if is_page else "image/jpeg")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def encode_tile(self, level: int, name: str) -> bytes:
        column, row = map(int, name.partition(".")[0].split("_"))
        file = BytesIO()
        self.generator.get_tile(level, (column, row)).save(file, "jpeg", quality=75)
        return file.getvalue()

    def write_page(self, level: str, *places: str) -> bytes:
        """Return a page that shows tiles of a level in their places, and fetches nothing else."""
        side = DEEPZOOM_TILE_PX

        def place_tile(name: str) -> str:
            x, y = map(int, name.split("_"))
            return f"<img src='/{level}/{name}.jpeg' style='position:absolute;left:{x * side}px;top:{y * side}px'>"

        tiles = "".join(map(place_tile, places))
        return f"<!doctype html><title>tiles</title><link rel=icon href='data:,'>{tiles}".encode()

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


@contextmanager
def serve_deepzoom(path: Path) -> Iterator[tuple[int, DeepZoomGenerator]]:
    """Context: the port of a server, and its generator."""
    with openslide.OpenSlide(str(path)) as slide:
        generator = DeepZoomGenerator(slide, DEEPZOOM_TILE_PX, 1)
        handler = type("Handler", (DeepZoomHandler,), {"generator": generator})
        with run_server(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as port:
            yield port, generator


def find_first_level(generator: DeepZoomGenerator) -> int:
    """Return the coarsest level that fills the screen; the finest where none does."""
    sizes = enumerate(generator.level_dimensions)
    fits = (number for number, (width, height) in sizes if max(width / SCREEN[0], height / SCREEN[1]) >= 1)
    return next(fits, generator.level_count - 1)


def measure_deepzoom(path: Path) -> dict[str, float]:
    began = time.perf_counter()
    with serve_deepzoom(path) as (port, generator):
        opened = time.perf_counter() - began

        def tile_paths(number: int, count: int) -> list[str]:
            columns, rows = generator.level_tiles[number]
            return [f"/{number}/{x}_{y}.jpeg" for x, y in choose_tiles(columns, rows, count)]

        picture = fetch_all(port, tile_paths(find_first_level(generator), 10**4))
        tiles = fetch_all(port, tile_paths(generator.level_count - 1, TILES))
        return {"first picture": opened + picture, f"{TILES} tiles": tiles}


@contextmanager
def open_page(browser: Any, url: str) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": SCREEN[0], "height": SCREEN[1]})
    page.goto(url, wait_until="commit")
    yield page
    page.close()


def wait_for(page: Any, condition: str) -> None:
    """Wait until a JavaScript expression is true."""
    page.evaluate(
        "async () => { while (!(CONDITION)) await new Promise(requestAnimationFrame); }".replace("CONDITION", condition)
    )


def measure_viewer_in_chromium(path: Path, browser: Any) -> dict[str, float]:
    """Return seconds from the address to the overview and to the whole picture, and from there to tiles at 1:1."""
    with View(ViewRequest([path])) as view, ViewServer(view) as server, run_server(server):
        began = time.perf_counter()
        with open_page(browser, server.url) as page:
            wait_for(page, "document.documentElement.hasAttribute('data-first')")
            overview = time.perf_counter() - began
            wait_for(page, "document.documentElement.hasAttribute('data-drawn')")
            whole = time.perf_counter() - began
            began = time.perf_counter()
            page.evaluate(
                """async () => {
                    const { view, panes } = wsisrView;
                    view.setResolution(panes.maps[0].images[0].mpp);
                    await new Promise((done) => panes.maps[0].once('rendercomplete', done));
                }"""
            )
            tiles = time.perf_counter() - began
    return {"first picture": overview, "sharp picture": whole, f"{TILES} tiles": tiles}


def measure_deepzoom_in_chromium(path: Path, browser: Any) -> dict[str, float]:
    """Return seconds from the address to the last DeepZoom tile of the first picture, and of a screen at 1:1."""
    with serve_deepzoom(path) as (port, generator):

        def measure(level: int, count: int) -> float:
            places = choose_tiles(*generator.level_tiles[level], count)
            began = time.perf_counter()
            with open_page(
                browser, f"http://127.0.0.1:{port}/page/{level}/{'/'.join(f'{x}_{y}' for x, y in places)}"
            ) as page:
                wait_for(page, "document.readyState === 'complete'")
                return time.perf_counter() - began

        picture = measure(find_first_level(generator), 10**4)
        return {
            "first picture": picture,
            "sharp picture": picture,
            f"{TILES} tiles": measure(generator.level_count - 1, TILES),
        }


def compare(ours: Callable[[], dict[str, float]], other: Callable[[], dict[str, float]], times: int) -> list[Row]:
    """Measure both in turns; return the medians of each step, and of the ratios of a turn."""
    turns = [(ours(), other()) for _ in range(times)]
    return [
        {
            "step": step,
            "wsisr s": statistics.median(one[step] for one, _ in turns),
            "DeepZoom s": statistics.median(two[step] for _, two in turns),
            "times as fast": statistics.median(two[step] / one[step] for one, two in turns),
        }
        for step in turns[0][0]
    ]


def compare_in_chromium(path: Path, program: str, times: int) -> list[Row]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        rows = compare(
            lambda: measure_viewer_in_chromium(path, browser),
            lambda: measure_deepzoom_in_chromium(path, browser),
            times,
        )
        browser.close()
    return [row | {"step": f"{row['step']} in Chromium"} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("slide", type=Path)
    parser.add_argument("--times", type=int, default=5, help="trials, of which the median counts")
    parser.add_argument("--browser", metavar="PROGRAM", help="measure in this Chromium, too")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    measure_viewer(arguments.slide)  # imports, and the file in the system's cache
    rows = compare(lambda: measure_viewer(arguments.slide), lambda: measure_deepzoom(arguments.slide), arguments.times)
    if arguments.browser:
        rows += compare_in_chromium(arguments.slide, arguments.browser, arguments.times)
    report(rows, arguments.json, slide=arguments.slide.name, openslide=openslide.__version__)


if __name__ == "__main__":
    main()
