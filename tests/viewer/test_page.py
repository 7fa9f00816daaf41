"""The page in a real Chromium: what a person sees and does. Skipped where no Chromium is installed."""

from __future__ import annotations

import json
import shutil
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.patience import PATIENCE_S
from tests.viewer.pictures import REGION, SCAN_MPP, Pair
from tests.viewer.test_server import write_layer
from tests.viewer.test_unfinished import run as run_upscaling
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import Rgb
from wsisr.slides import open_slide
from wsisr.viewer.export import export_view
from wsisr.viewer.server import ViewServer
from wsisr.viewer.view import View, ViewRequest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

RESEARCH = "super-resolved, research use only"
HOSTILE = "<img src=x onerror=alert(1)>"
WIDTH, HEIGHT = 1000, 520
LIMIT_MS = 1000 * PATIENCE_S
"""A page that takes so long is broken; a loaded machine takes seconds."""
ROWS, LEFT, RIGHT = slice(70, 240), slice(20, 470), slice(530, 790)
"""What nothing lies over: below the captions, above scale bar and overview, on both sides of the handle."""


@dataclass
class Browser:
    """A page in Chromium, and all that it asked for and complained about."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, url: str) -> None:
        self.page.goto("about:blank")
        self.page.goto(url)
        self.wait_for("window.wsisrView && [...document.images].every((image) => image.complete)")
        self.settle()

    def reset(self) -> None:
        """Show what the page shows when it opens."""
        self.page.evaluate(
            """async () => {
                const { update, state, panes } = wsisrView;
                for (const layer of Object.values(state.layers)) layer.visible = false;
                for (const id of ['layers', 'help']) document.getElementById(id).hidden = true;
                const images = { left: 0, right: 1, swapped: false };
                await update({ mode: 'curtain', curtain: 0.5, opacity: 0.5, smooth: true, ...images });
                panes.fit();
            }"""
        )
        self.settle()

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript expression is true; Playwright's own wait evaluates text, which the page forbids."""
        self.page.evaluate(
            """async () => {
                const end = performance.now() + LIMIT;
                while (!(CONDITION)) {
                    if (performance.now() > end) throw new Error('what a test waits for never comes');
                    await new Promise(requestAnimationFrame);
                }
            }""".replace("CONDITION", condition).replace("LIMIT", str(LIMIT_MS))
        )

    def settle(self) -> None:
        """Wait until all maps have drawn what they are to show."""
        self.wait_for("!wsisrView.view.getAnimating()")
        self.page.evaluate(
            """async () => {
                const drawn = (map) => new Promise((done, fail) => {
                    setTimeout(() => fail(new Error('a map is not drawn')), LIMIT);
                    map.once('rendercomplete', done);
                    map.render();
                });
                await Promise.all(wsisrView.panes.maps.map(drawn));
                await new Promise(requestAnimationFrame);
            }""".replace("LIMIT", str(LIMIT_MS))
        )

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def take_picture(self) -> Rgb:
        return np.asarray(Image.open(BytesIO(self.page.locator("#panes").screenshot())).convert("RGB"))

    def get_place(self) -> tuple[float, float, float]:
        """Return the centre in um, y downwards, and the resolution in um/px."""
        x, y, resolution = self.page.evaluate("[...wsisrView.view.getCenter(), wsisrView.view.getResolution()]")
        return x, -y, resolution

    def go_to(self, x: float, y: float, resolution: float) -> None:
        self.page.evaluate(
            "([x, y, r]) => { wsisrView.view.setCenter([x, -y]); wsisrView.view.setResolution(r); }", [x, y, resolution]
        )
        self.settle()

    def list_captions(self) -> list[str]:
        return list(self.page.locator(".caption span").all_inner_texts())


@contextmanager
def run_server(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        browser = Browser(program.new_page(viewport={"width": WIDTH, "height": HEIGHT}))
        browser.page.set_default_timeout(LIMIT_MS)
        browser.page.on("request", lambda request: browser.requests.append(request.url))
        browser.page.on("console", lambda message: browser.complaints.append(f"{message.type}: {message.text}"))
        browser.page.on("pageerror", lambda error: browser.complaints.append(str(error)))
        browser.page.on("dialog", lambda dialog: browser.complaints.append(dialog.message))
        yield browser
        program.close()


@pytest.fixture(scope="module")
def address(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    corners = [[140, 80], [300, 80], [300, 200], [140, 200], [140, 80]]
    mark = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "properties": {"name": HOSTILE},
    }
    marks = tmp_path_factory.mktemp("marks") / f"{HOSTILE}.geojson"
    marks.write_text(json.dumps(mark))
    layer = write_layer(marks.with_name("a.trust.ome.tif"), np.full((38, 50), 30, np.uint8), pair.result)
    request = ViewRequest([pair.scan, pair.result, layer], annotations=[marks])
    with View(request) as view, ViewServer(view) as server, run_server(server):
        yield server.url


@pytest.fixture(scope="module")
def opened(chromium: Browser, address: str) -> Browser:
    chromium.open(address)
    return chromium


@pytest.fixture
def browser(opened: Browser, address: str) -> Iterator[Browser]:
    """The page as it opens; whatever a test does, nothing is fetched from elsewhere and nothing goes wrong."""
    chromium = opened
    chromium.reset()
    yield chromium
    assert [url for url in chromium.requests if not url.startswith((address, "about:", "data:", "blob:"))] == []
    assert chromium.complaints == []


def correlate(one: Rgb, other: Rgb) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_both_images_show_the_same_structure_at_a_place(browser: Browser) -> None:
    """On the pixels of the screen; a shift of 2 px of the scan would be seen."""
    browser.press("b")
    browser.go_to((REGION[0] + REGION[2] / 2) * SCAN_MPP, (REGION[1] + REGION[3] / 2) * SCAN_MPP, SCAN_MPP / 2)
    scan = browser.take_picture()[ROWS, 120:470]  # as far as the result reaches
    browser.press(" ")
    result = browser.take_picture()[ROWS, 120:470]
    assert (scan != result).any()
    assert correlate(scan, result) > 0.98
    assert correlate(scan[:, 4:], result[:, :-4]) < 0.96


@pytest.mark.parametrize("number", [0, 1])
def test_at_one_to_one_the_screen_shows_the_stored_pixels(browser: Browser, pair: Pair, number: int) -> None:
    path, mpp = ((pair.scan, SCAN_MPP), (pair.result, SCAN_MPP / 2))[number]
    browser.press("b", *" " * number)
    corner = (0, 0) if number == 0 else REGION[:2]
    browser.go_to(corner[0] * SCAN_MPP + 190.13 * mpp, corner[1] * SCAN_MPP + 160.77 * mpp, 2.2 * mpp)
    browser.press("3" if number == 0 else "4")
    assert browser.get_place()[2] == pytest.approx(mpp)
    check_stored_pixels(browser, path, mpp, (corner[0] * SCAN_MPP, corner[1] * SCAN_MPP))


def test_a_screen_of_two_pixels_a_css_pixel_shows_the_stored_pixels(
    chromium: Browser, address: str, pair: Pair
) -> None:
    page = chromium.page.context.browser.new_page(
        viewport={"width": WIDTH // 2, "height": HEIGHT // 2 + 40}, device_scale_factor=2
    )
    browser = Browser(page)
    browser.open(address)
    browser.press("b")
    browser.go_to(95.13, 80.77, 1.3)
    browser.press("3")
    assert browser.get_place()[2] == pytest.approx(2 * SCAN_MPP)
    check_stored_pixels(browser, pair.scan, SCAN_MPP, (0, 0))
    page.close()


def check_stored_pixels(browser: Browser, path: Path, mpp: float, corner: tuple[float, float]) -> None:
    """Compare the middle of the screen with the file whose level 0 begins at a corner, in um."""
    picture = browser.take_picture()
    height, width = picture.shape[:2]
    x, y, _ = browser.get_place()
    left, top = (x - corner[0]) / mpp - width / 2, (y - corner[1]) / mpp - height / 2
    assert (left, top) == pytest.approx((round(left), round(top)), abs=1e-3)
    part = Box(width // 2 - 160, height // 2 - 60, width // 2 + 80, height // 2 + 30)
    with open_slide(path) as slide:
        stored = slide.read(part.translate(round(left), round(top)), 0)
    np.testing.assert_array_equal(picture[part.rows, part.columns], stored)


def test_tiles_of_a_run_at_work_appear_and_the_rest_is_hatched(chromium: Browser, pair: Pair, tmp_path: Path) -> None:
    output = tmp_path / "scan.x2.ome.tif"
    page = chromium.page.context.browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    browser = Browser(page)
    page.on("pageerror", lambda error: browser.complaints.append(str(error)))
    with run_upscaling(pair.scan, output) as steps:
        deque(islice(steps, 6), 0)
        with View(ViewRequest([pair.scan, output])) as view, ViewServer(view) as server, run_server(server):
            browser.open(server.url)
            browser.press("b", " ")
            first = browser.list_captions()[1]
            before = browser.take_picture()
            deque(islice(steps, 8), 0)
            page.evaluate("wsisrView.runs.look()")
            browser.settle()
            _, second, research = browser.list_captions()
            after = browser.take_picture()
            page.close()
    assert research == RESEARCH
    shares = [int(text.removeprefix("unfinished, ").removesuffix(" % of its tiles")) for text in (first, second)]
    assert 30 <= shares[0] < 60 < shares[1]  # the run may be a few tiles ahead of what it has told
    grey = [np.ptp(picture, axis=2) < 12 for picture in (before, after)]
    assert (grey[0] & ~grey[1]).mean() > 0.02
    assert (~grey[0] & grey[1]).mean() < 0.01
    assert browser.complaints == []


def test_the_curtain_follows_its_handle(browser: Browser) -> None:
    browser.go_to((REGION[0] + REGION[2] / 2) * SCAN_MPP, (REGION[1] + REGION[3] / 2) * SCAN_MPP, 0.3)
    browser.press("b")
    scan = browser.take_picture()
    browser.press(" ")
    result = browser.take_picture()
    browser.press(" ", "c")
    handle = browser.page.locator("#handle").bounding_box()
    browser.page.mouse.move(handle["x"] + 10, handle["y"] + 200)
    browser.page.mouse.down()
    browser.page.mouse.move(250, handle["y"] + 210, steps=3)
    browser.page.mouse.up()
    browser.settle()
    curtain = browser.take_picture()
    np.testing.assert_array_equal(curtain[ROWS, 20:220], scan[ROWS, 20:220])
    np.testing.assert_array_equal(curtain[ROWS, 280:780], result[ROWS, 280:780])
    assert not np.array_equal(scan[ROWS, 20:220], result[ROWS, 20:220])


def test_derived_images_are_marked_in_every_mode(browser: Browser) -> None:
    assert browser.list_captions() == ["scan.tif", "result.x2.ome.tif", RESEARCH]
    browser.press("s")
    assert browser.list_captions() == ["scan.tif", "result.x2.ome.tif", RESEARCH]
    browser.press("o")
    assert RESEARCH in browser.list_captions()
    browser.press("b")
    assert browser.list_captions() == ["scan.tif"]
    browser.press(" ")
    assert browser.list_captions() == ["result.x2.ome.tif", RESEARCH]
    browser.press("l")
    card, caption = (browser.page.locator(name).bounding_box() for name in ("#layers", ".research"))
    assert card["y"] > caption["y"] + caption["height"]


def test_side_by_side_both_panes_move_in_step(browser: Browser) -> None:
    browser.press("s")
    browser.go_to(150, 90, 0.25)
    browser.page.mouse.move(200, 300)
    browser.page.mouse.down()
    browser.page.mouse.move(160, 270, steps=3)
    browser.page.mouse.up()
    browser.settle()
    picture = browser.take_picture()
    half = picture.shape[1] // 2 + 1  # the gap between the panes is 2 px
    assert correlate(picture[ROWS, 0:280], picture[ROWS, half : half + 280]) > 0.95


def test_keys_move_and_zoom(browser: Browser) -> None:
    browser.go_to(150, 100, 0.5)
    browser.press("ArrowRight", "ArrowDown")
    x, y, _ = browser.get_place()
    assert x > 200
    assert y > 130
    browser.press("+")
    assert browser.get_place()[2] == pytest.approx(0.25)
    browser.press("-", "-")
    assert browser.get_place()[2] == pytest.approx(1)
    for key, resolution in (("1", 2), ("2", 1), ("3", 0.5), ("4", 0.25), ("5", 0.125)):
        browser.press(key)
        assert browser.get_place()[2] == pytest.approx(resolution)
    browser.press("0")
    assert browser.get_place()[:2] == pytest.approx((150, 105))


def test_the_wheel_zooms_at_the_pointer(browser: Browser) -> None:
    browser.go_to(150, 100, 0.5)
    browser.page.mouse.move(250, 200)
    before = browser.page.locator("#position").inner_text()
    browser.page.mouse.wheel(0, -240)
    browser.wait_for("wsisrView.view.getResolution() < 0.4 && !wsisrView.view.getAnimating()")
    browser.page.mouse.move(251, 200)
    browser.page.mouse.move(250, 200)
    numbers = [
        [float(word) for word in text.split() if word[0].isdigit()]
        for text in (before, browser.page.locator("#position").inner_text())
    ]
    assert numbers[0] == pytest.approx(numbers[1], abs=0.6)
    assert "scan.tif: " in browser.page.locator("#pixels").inner_text()


def test_layers_are_drawn_and_hidden_and_run_no_script(browser: Browser) -> None:
    browser.go_to(110, 70, 0.25)
    plain = browser.take_picture()[ROWS, LEFT]
    for key in "atr":
        browser.press(key)
        browser.wait_for("wsisrView.panes.maps.every(map => [...map.overlays.values()].every(Boolean))")
        browser.settle()
        assert (browser.take_picture()[ROWS, LEFT] != plain).mean() > 0.005
        browser.press(key)
        np.testing.assert_array_equal(browser.take_picture()[ROWS, LEFT], plain)
    browser.press("l")
    assert f"{HOSTILE}.geojson" in browser.page.locator("#layer-list").inner_text()
    assert browser.page.locator("img:not(#minimap-picture)").count() == 0


def test_a_link_leads_to_the_place(browser: Browser) -> None:
    browser.go_to(123, 88, 0.3)
    browser.press("s", "t")
    browser.wait_for("location.hash.includes('m=side') && location.hash.includes('tissue')")
    link = browser.page.evaluate("location.href")
    browser.open(link)
    assert browser.get_place() == pytest.approx((123, 88, 0.3))
    assert browser.page.locator(".pane").count() == 2
    assert browser.page.evaluate("wsisrView.state.layers['tissue:0'].visible")


def test_a_picture_shows_what_is_seen_and_says_what_it_is(browser: Browser) -> None:
    browser.press("3")
    with browser.page.expect_download() as download:
        browser.press("p")
    assert download.value.suggested_filename.endswith("-research-use-only.png")
    saved = np.asarray(Image.open(download.value.path()).convert("RGB"))
    shown = browser.take_picture()
    assert saved.shape == shown.shape
    for columns in (LEFT, RIGHT):
        np.testing.assert_array_equal(saved[ROWS, columns], shown[ROWS, columns])
    assert (saved[-60:, 12:160] < 60).all(axis=2).sum() > 200  # the scale bar


def test_plain_pixels_are_those_of_the_image(browser: Browser, pair: Pair) -> None:
    browser.press("b", "x")
    browser.go_to(100.13, 70.2, SCAN_MPP / 8)
    colours = {tuple(pixel) for pixel in browser.take_picture()[100:150, 300:420].reshape(-1, 3)}
    with open_slide(pair.scan) as slide:
        stored = {tuple(pixel) for pixel in slide.read(Box.from_size(slide.info.size), 0).reshape(-1, 3)}
    assert colours <= stored


def test_an_exported_page_works_on_any_server(chromium: Browser, pair: Pair, tmp_path: Path) -> None:
    chromium.requests.clear()
    chromium.complaints.clear()
    with View(ViewRequest([pair.scan, pair.result])) as view:
        list(export_view(view, tmp_path / "page", 10**8))
    handler = partial(QuietHandler, directory=str(tmp_path / "page"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, run_server(server):
        chromium.open(f"http://127.0.0.1:{server.server_address[1]}/")
        chromium.press("s", "t")
        assert chromium.list_captions() == ["scan.tif", "result.x2.ome.tif", RESEARCH]
        assert chromium.take_picture().std() > 20
        chromium.page.goto("about:blank")
    assert chromium.complaints == []


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder and prints nothing."""

    def log_message(self, *_words: object) -> None:
        pass
