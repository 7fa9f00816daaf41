"""`report.html`: the visual report of a dataset, one self-contained file without scripts.

Its size is bounded for any dataset: slides, pairs, examples, rows and characters have limits, which the modules here
name, and the page stays below 10 MB. The same dataset gives the same bytes in any folder.
"""

from __future__ import annotations

from pathlib import Path

from wsisr.dataset.reader import REPORT
from wsisr.dataset.report.contents import ReportContents, read_report_contents
from wsisr.dataset.report.overview import summarise_dataset
from wsisr.dataset.report.slides import summarise_slides
from wsisr.files import write_atomically
from wsisr.reports.templating import render_template


def write_report(folder: Path) -> Path:
    """Write the report of a dataset into its folder, atomically, and return its path.

    Raises `DatasetError` if the folder holds no dataset or one of its files is damaged, `OutputError` if writing fails.
    """
    path = folder / REPORT
    write_atomically(path, [render_report(read_report_contents(folder)).encode("utf-8")])
    return path


def render_report(contents: ReportContents) -> str:
    """Return the complete HTML page."""
    # Plain text: `Markup` would escape every string that is added to it.
    return str(render_template("dataset/report.html", **summarise_dataset(contents), **summarise_slides(contents)))
