"""`report.html`: a dataset for the eye, in one file that needs nothing else and runs nothing.

Its size is bounded whatever the dataset: cards, pairs, examples, rows and characters have a most, named in the modules
here, and stay below 10 MB together. Whatever comes out of a file is text, never markup. The same dataset gives the same
bytes, wherever it lies.
"""

from __future__ import annotations

from pathlib import Path

from wsisr.dataset.reader import REPORT
from wsisr.dataset.report.cards import slides
from wsisr.dataset.report.contents import Contents, contents_of
from wsisr.dataset.report.markup import Html, element
from wsisr.dataset.report.sections import blurs, doubts, head, left_out, measured, recipe, table
from wsisr.dataset.report.style import CSS
from wsisr.files import write_whole

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Of the page's own: a browser loads nothing from elsewhere and runs no script, whatever got in."""


def write_report(folder: Path) -> Path:
    """Writes the report of a dataset into its folder, whole.

    Raises `DatasetError` where there is no dataset or a file of it is damaged, `OutputError` where the disk refuses.
    """
    path = folder / REPORT
    write_whole(path, [page(contents_of(folder)).encode("utf-8")])
    return path


def page(contents: Contents) -> str:
    """The whole of it."""
    parts = (head, doubts, table, measured, blurs, left_out, slides, recipe)
    body = element("body", [part(contents) for part in parts], _foot())
    return "<!doctype html>\n" + element("html", _header(len(contents.records)), body, lang="en")


def _header(pairs: int) -> Html:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"wsisr dataset: {pairs:,} pairs"),
        element("style", Html(CSS)),
    )


def _foot() -> Html:
    told = "What a network makes of these pairs is an estimate. For research use, not for diagnosis."
    return element("footer", told)
