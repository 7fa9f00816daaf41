"""`report.html`: the visual report of a dataset, one self-contained file without scripts.

Its size is bounded for any dataset: slides, pairs, examples, rows and characters have limits, which the modules here
name, and the page stays below 10 MB. Text from a file is always escaped. The same dataset gives the same bytes in any
folder.
"""

from __future__ import annotations

from pathlib import Path

from wsisr.dataset.reader import REPORT
from wsisr.dataset.report.contents import ReportContents, read_report_contents
from wsisr.dataset.report.markup import Html, html_element
from wsisr.dataset.report.sections import (
    render_counts,
    render_head,
    render_kernel_section,
    render_measures,
    render_questions,
    render_recipe,
    render_rejections,
)
from wsisr.dataset.report.slide_sections import render_slides
from wsisr.dataset.report.style import CSS
from wsisr.files import write_atomically

CONTENT_SECURITY_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""The page's own policy: the browser loads nothing from elsewhere and runs no script, even if markup slipped in."""


def write_report(folder: Path) -> Path:
    """Write the report of a dataset into its folder, atomically, and return its path.

    Raises `DatasetError` if the folder holds no dataset or one of its files is damaged, `OutputError` if writing fails.
    """
    path = folder / REPORT
    write_atomically(path, [render_report(read_report_contents(folder)).encode("utf-8")])
    return path


def render_report(contents: ReportContents) -> str:
    """Return the complete HTML page."""
    sections = (
        render_head,
        render_questions,
        render_counts,
        render_measures,
        render_kernel_section,
        render_rejections,
        render_slides,
        render_recipe,
    )
    body = html_element("body", [render(contents) for render in sections], _render_footer())
    return "<!doctype html>\n" + html_element("html", _render_html_head(len(contents.records)), body, lang="en")


def _render_html_head(pairs: int) -> Html:
    return html_element(
        "head",
        html_element("meta", charset="utf-8"),
        html_element("meta", http_equiv="Content-Security-Policy", content=CONTENT_SECURITY_POLICY),
        html_element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        html_element("title", f"wsisr dataset: {pairs:,} pairs"),
        html_element("style", Html(CSS)),
    )


def _render_footer() -> Html:
    notice = "What a network trained on these pairs produces is an estimate. For research use, not for diagnosis."
    return html_element("footer", notice)
