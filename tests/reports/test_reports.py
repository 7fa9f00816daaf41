"""Laws of the report templates: values are text, names are checked, and charts show their values."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markupsafe import Markup
from PIL import Image

from tests.reports.elements import Elements
from tests.support.formats import make_blobs
from tests.support.samples import REPOSITORY
from wsisr.imaging.geometry import Size
from wsisr.reports.charts import (
    Curve,
    CurveChart,
    Histogram,
    Interval,
    render_curve_figure,
    render_curves,
    render_histogram,
    render_intervals,
)
from wsisr.reports.pictures import encode_data_uri, is_base64_jpeg
from wsisr.reports.templating import MAX_TEXT_CHARACTERS, render_template, replace_unprintable, shorten_text

TEMPLATES = REPOSITORY / "wsisr" / "reports" / "templates"
TEXTS = st.text() | st.text(alphabet="<>&\"'={}%#/ \u202e\x00a")


@given(TEXTS, TEXTS)
def test_any_text_stays_text_and_any_attribute_an_attribute(title: str, style: str) -> None:
    page = Elements(render_curve_figure(title, "note", Markup("<svg></svg>"), {style: title}))
    plain = Elements(render_curve_figure("", "note", Markup("<svg></svg>"), {"": ""}))
    assert [tag for tag, _ in page.found] == [tag for tag, _ in plain.found]
    assert page.text.count(replace_unprintable(title)) >= 2 or not title
    assert page.named("line")[0]["class"] == replace_unprintable(style)


def test_a_name_that_is_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="legend"):
        render_template("curve_figure.html", title="", note="", svg="")


def test_no_template_switches_escaping_off_or_runs_a_script() -> None:
    templates = [path.read_text(encoding="utf-8") for path in TEMPLATES.rglob("*.html")]
    assert len(templates) > 5
    for template in templates:
        assert not any(word in template for word in ("|safe", "| safe", "autoescape", "<script", "http:", "https:"))


@given(st.text())
def test_a_shortened_text_is_bounded_and_printable(text: str) -> None:
    short = shorten_text(text * 9)
    assert len(short) <= MAX_TEXT_CHARACTERS
    assert all(char.isprintable() or char == "\N{NO-BREAK SPACE}" for char in short)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_a_histogram_counts_every_value_once(values: list[float]) -> None:
    page = Elements(render_histogram(Histogram("Shift", "px", "how far", values)))
    heights = np.array([float(bar["height"]) for bar in page.named("rect")])
    assert heights.max() == 96
    tallest = len(values) * 96 / heights.sum()
    np.testing.assert_allclose(heights * tallest / 96, np.round(heights * tallest / 96), atol=0.01)
    assert tallest == pytest.approx(round(tallest), abs=0.01)
    assert f"{len(values):,}\N{NO-BREAK SPACE}values" in page.text


def test_the_last_bar_of_a_histogram_holds_the_outliers() -> None:
    values = [0.1] * 990 + [1.0] * 6 + [2.0, 3.0, 1e6, 1e7]
    bars = Elements(render_histogram(Histogram("Shift", "", "", values))).named("rect")
    assert [round(float(bar["height"]) * 990 / 96) for bar in bars] == [990, 10]


@pytest.mark.parametrize("value", [0.0, 1e-9, -2.5, 4000.0])
def test_a_mean_lies_on_its_axis_also_where_nothing_was_gained(value: float) -> None:
    chart = Elements(str(render_intervals("Gain", "dB", [Interval("a", value, None, value, value)])))
    assert all(230 <= float(each["cx"]) <= 790 for each in chart.named("circle"))


def test_curves_are_drawn_in_order_over_an_axis() -> None:
    curves = [Curve("area", [(-2, 0), (2, 1)]), Curve("found", [(0, 0.5)])]
    page = Elements(
        render_curves(CurveChart("label", 400, 170, (-2, 2), (-0.35, 1.35), {-2: "-2", 0: "0", 2: "+2"}), curves)
    )
    drawn = [(line["class"], line["points"]) for line in page.named("polyline")]
    assert drawn == [("area", "-2,0 2,1"), ("found", "0,0.5")]
    assert [float(tick["x"]) for tick in page.named("text")] == [0, 200, 400]
    assert page.named("g")[0]["transform"] == "translate(200 135) scale(100 -100)"


def test_an_embedded_picture_is_the_image() -> None:
    image = make_blobs(Size(64, 48))
    uri = encode_data_uri(image, 95)
    content = uri.removeprefix("data:image/jpeg;base64,")
    decoded = np.asarray(Image.open(BytesIO(base64.b64decode(content))))
    assert np.abs(decoded.astype(int) - image).mean() < 3
    assert is_base64_jpeg(content, len(content))
    assert not is_base64_jpeg(content, len(content) - 1)


@pytest.mark.parametrize("content", ["", '/9j/"onerror=alert(1)', "/9j/<b>", "iVBORw0KGgo=", "/9j/ab\n"])
def test_text_that_is_no_picture_is_not_embedded(content: str) -> None:
    assert not is_base64_jpeg(content, 100)
