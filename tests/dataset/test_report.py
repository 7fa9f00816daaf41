"""`report.html`: whole, bounded, the same each time, and nothing out of a file is markup in it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import to_builtins
from msgspec.structs import replace
from typer.testing import CliRunner

from tests.support.pairs import build_small_dataset, make_record, write_dataset, write_manifest, write_slide
from tests.support.patience import PATIENCE_S
from tests.support.samples import make_noise
from wsisr.cli.build_dataset import build_dataset_app
from wsisr.dataset.reader import HEADER, MANIFEST, REPORT, SLIDES, PatchStore
from wsisr.dataset.report import write_report
from wsisr.dataset.report.contents import read_report_contents
from wsisr.dataset.report.kernels import KernelWeights, area_weights, bicubic_weights
from wsisr.dataset.report.pictures import DIFFERENCE_GAIN, PairViews
from wsisr.dataset.slide_facts import Rejections, SlideFacts, encode_picture
from wsisr.errors import DatasetError
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import FilterName, shrink_image

HOSTILE = """"><script>alert(1)</script><img src=x onerror=alert(2)>' &amp; \u202e\x00"""
VOID = {"meta", "img"}
LARGEST_BYTES = 10_000_000
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """What a page is made of. Raises where elements do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.ids: set[str] = set()
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids |= {value or "" for name, value in attrs if name == "id"}
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    slides = [write_slide(folder / f"{name}.ome.tif", Size(256, 256), seed=n) for n, name in enumerate("ab")]
    return build_small_dataset(folder / "pairs", slides, [write_slide(folder / "c.ome.tif", Size(256, 128))]).folder


def page_of(folder: Path) -> Page:
    return Page((folder / REPORT).read_text(encoding="utf-8"))


def facts_of(name: str, **more: Any) -> SlideFacts:
    thumbnail = encode_picture(np.full((40, 40, 3), 200, np.uint8), 40)
    return SlideFacts(f"{name}.svs", name, "train", "pyramid", (640, 640), 0.5, thumbnail, **more)


def write_facts(folder: Path, facts: Sequence[Mapping[str, Any]], header: Mapping[str, Any] | None = None) -> Path:
    """A dataset of 24 pairs of three slides, of which these facts are told."""
    write_dataset(folder)
    (folder / SLIDES).write_text("".join(f"{json.dumps(row)}\n" for row in facts))
    (folder / HEADER).write_text(json.dumps(header or {}))
    return folder


def test_a_dataset_is_built_with_its_report(dataset: Path) -> None:
    page = page_of(dataset)
    records = PatchStore(dataset).records
    assert f"{len(records)} pairs from 3 slides" in page.text
    assert {"doubts", "counts", "measures", "kernels", "left-out", "slides", "recipe", "slide-0", "slide-2"} <= page.ids
    assert all(name in page.text for name in ("a.ome.tif", "b.ome.tif", "c.ome.tif"))
    anchors = {value[1:] for _, name, value in page.attributes if name == "href" and value.startswith("#")}
    assert anchors <= page.ids
    assert page.names.count("image") == 3


def test_nothing_comes_from_elsewhere_and_nothing_runs(dataset: Path) -> None:
    page = page_of(dataset)
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(page.names)
    addresses = [value for _, name, value in page.attributes if name in ("src", "href")]
    assert addresses
    assert all(value.startswith(("#", "data:image/jpeg;base64,")) for value in addresses)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert ("meta", "content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in page.attributes


def test_the_same_dataset_gives_the_same_bytes_wherever_it_lies(dataset: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(dataset, tmp_path / "elsewhere")
    (copy / REPORT).unlink()
    done = CliRunner().invoke(build_dataset_app, ["report", str(copy)], catch_exceptions=False)
    assert done.stdout == f"{copy / REPORT}\n"
    assert (copy / REPORT).read_bytes() == (dataset / REPORT).read_bytes()


def test_what_comes_from_files_is_text_and_no_markup(tmp_path: Path) -> None:
    facts = facts_of("slide0", told={HOSTILE: HOSTILE})
    facts.slide = facts.case = facts.kind = facts.split = HOSTILE
    facts.reject(HOSTILE, np.zeros((9, 9, 3), np.uint8))
    facts.rejected["other"] = Rejections(1, [HOSTILE])
    header = {"wsisr": HOSTILE, "recipe": {HOSTILE: HOSTILE}, "failed": [HOSTILE, {"no": "text"}]}
    folder = write_facts(tmp_path, [to_builtins(facts)], header)
    records = PatchStore(folder).records
    write_manifest(
        folder,
        [replace(each, slide=HOSTILE, case=HOSTILE, kind=HOSTILE, parameters={HOSTILE: HOSTILE}) for each in records],
    )
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert not {"script", "onerror"} & ({*page.names} | {name for _, name, _ in page.attributes})
    assert all(value.startswith("data:image/jpeg;base64,") for _, name, value in page.attributes if name == "src")
    assert '"><script>alert(1)</script>' in page.text
    assert not {"\u202e", "\x00"} & set(page.text)


def test_a_report_is_bounded_whatever_the_dataset(tmp_path: Path) -> None:
    large = encode_picture(make_noise(Size(300, 300), 0), 300)
    assert 80_000 < len(large) < 100_000
    example = encode_picture(make_noise(Size(96, 96), 0), 96)
    rows = []
    for number in range(60):
        facts = facts_of(f"{number}" + '"' * 400, told={f"{key}": '"' * 400 for key in range(30)})
        facts.thumbnail = large
        facts.rejected = {f"{each} {number}{'&' * 200}": Rejections(1, [example] * 3) for each in range(3)}
        rows.append(to_builtins(facts))
    many = {f"{key}{HOSTILE * 9}": "x" * 999 for key in range(999)}
    folder = write_facts(tmp_path, rows, {"recipe": many, "failed": [*many]})
    own = PatchStore(folder).records
    names = [str(rows[number % 60]["slide"]) for number in range(60)]
    moved = [replace(each, slide=name, box=(n, n, n + 9, n + 9)) for n, name in enumerate(names) for each in own]
    write_manifest(folder, moved)
    assert 3_000_000 < write_report(folder).stat().st_size < LARGEST_BYTES


def test_pictures_of_a_pair_show_the_same_field(tmp_path: Path) -> None:
    store = PatchStore(write_dataset(tmp_path))
    first = store.records[0]
    views = PairViews.from_record(store, first)
    np.testing.assert_array_equal(views.low, store.read_low(first))
    np.testing.assert_array_equal(views.high, store.read_high(first))
    assert views.mean_difference == 0
    np.testing.assert_array_equal(views.difference, 128)
    eighth = first.side // 8
    np.testing.assert_array_equal(views.checkerboard[:eighth, :eighth], views.high[:eighth, :eighth])
    assert (views.checkerboard[:eighth, eighth : 2 * eighth] != views.high[:eighth, eighth : 2 * eighth]).any()


def test_a_shifted_pair_shows_in_its_difference(tmp_path: Path) -> None:
    store = PatchStore(write_dataset(tmp_path))
    first, second = store.records[0], store.records[2]
    mixed = replace(first, images={"hr": first.images["hr"], "lr": second.images["lr"]})
    views = PairViews.from_record(store, mixed)
    apart = shrink_image(store.read_high(first), first.scale, "area").astype(float) - store.read_low(second)
    assert views.mean_difference == pytest.approx(np.abs(apart).mean())
    assert views.difference[0, 0] == pytest.approx(
        np.clip(128 + DIFFERENCE_GAIN * apart[0, 0].mean(), 0, 255), abs=0.51
    )


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_kernels_are_those_of_the_filters_they_are_called_after(scale: int) -> None:
    """Seen at an edge, which the first px on its bright side blurs into."""
    bright = np.full((scale, 8 * scale, 3), 100, np.uint8)
    bright[:, 4 * scale :] = 200
    kernels: dict[FilterName, KernelWeights] = {"area": area_weights(scale), "bicubic": bicubic_weights(scale)}
    for kernel, weights in kernels.items():
        expected = 100 + 100 * weights[3 * scale // 2 :].sum()
        assert weights.sum() == pytest.approx(1)
        assert shrink_image(bright, scale, kernel)[0, 4, 0] == pytest.approx(expected, abs=1)


def test_a_dataset_without_facts_of_its_slides_has_a_report(tmp_path: Path) -> None:
    page = Page(write_report(write_dataset(tmp_path)).read_text(encoding="utf-8"))
    assert "24 pairs from 3 slides" in page.text
    assert "This dataset keeps no measurement" in page.text


def test_look_alikes_are_shown(tmp_path: Path) -> None:
    records = PatchStore(write_dataset(tmp_path)).records
    places = {each.split: {"slide": each.slide, "box": each.box} for each in records}
    (tmp_path / HEADER).write_text(json.dumps({"look_alikes": {"pairs": 7, "examples": [{**places, "bits": 3}]}}))
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "7 pairs of patches look alike" in page.text
    alts = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert {f"a patch of {places[split]['slide']}" for split in ("train", "val")} <= {*alts}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (SLIDES, "no json\n"),
        (SLIDES, '{"slide": "a"}\n'),
        (SLIDES, "[]\n"),
        (HEADER, "{"),
        (MANIFEST, make_record("a").to_json().replace('"focus": 0.5', '"focus": NaN') + "\n"),
        (MANIFEST, make_record("a").to_json().replace('"slide": "a.svs"', '"slide": ["a"]') + "\n"),
    ],
)
def test_a_damaged_dataset_is_one_line_that_names_the_file(tmp_path: Path, name: str, content: str) -> None:
    (write_dataset(tmp_path) / name).write_text(content)
    with pytest.raises(DatasetError, match=name):
        read_report_contents(tmp_path)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_shows_it_without_complaint_and_without_scrolling_sideways(dataset: Path, tmp_path: Path) -> None:
    page = (dataset / REPORT).read_text(encoding="utf-8")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    probe = (
        "<script>onload = () => { const root = document.documentElement, seen = [...document.images];"
        "document.title = [root.scrollWidth, innerWidth, seen.length, seen.filter(i => !i.naturalWidth).length].join();"
        "}</script></body>"
    )
    assert page.count("</body>") == page.count(policy) == 1
    probed = page.replace("</body>", probe).replace(policy, "img-src data:")
    (tmp_path / "page.html").write_text(probed, encoding="utf-8")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --enable-logging=stderr --hide-scrollbars --window-size=1280,900"
    )
    command = [str(CHROMIUM), *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [*command, (tmp_path / "page.html").as_uri()], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert "CONSOLE" not in done.stderr
    width, window, images, broken = map(int, done.stdout.split("<title>")[1].split("</title>")[0].split(","))
    assert width <= window == 1280
    assert images > 0 == broken
