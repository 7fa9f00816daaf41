"""Progress of the main job in a notebook or a script: one line of text, which needs no widgets."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING

from wsisr.api import take_options_of
from wsisr.cli.control_characters import escape_controls
from wsisr.cli.progress import describe_steps
from wsisr.cli.summary import format_pace
from wsisr.models import loading
from wsisr.upscaling.job import Advanced, Finished, MaskSaved, Noted, Warned, run_job
from wsisr.upscaling.report import UpscaleReport
from wsisr.upscaling.request import UpscaleRequest

if TYPE_CHECKING:
    from collections.abc import Generator

    from wsisr.progress import Progress

_BAR_PX = 30
"""Characters of the bar."""


@take_options_of(UpscaleRequest)
def watch_upscale(request: UpscaleRequest) -> UpscaleReport:
    """Enlarge a slide as `upscale_slide` does, show its progress and warnings on stderr, and return the report.

    Takes a slide and the options of `wsisr upscale`, all of which `UpscaleRequest` documents. Raises `WsisrError`, with
    what is wrong in one line.
    """
    reports: list[UpscaleReport] = []

    def iterate_steps() -> Generator[Progress, None, None]:
        with closing(run_job(request, loading)) as events:
            for event in events:
                if isinstance(event, Advanced):
                    yield event.progress
                elif isinstance(event, Warned | Noted):
                    _print_line(("warning: " if isinstance(event, Warned) else "") + event.text)
                elif isinstance(event, MaskSaved):
                    _print_line(f"{event.path}: shows the tissue of the whole slide")
                elif isinstance(event, Finished):
                    reports.append(event.report)

    shown = ""
    with closing(iterate_steps()) as steps:
        for step, text in describe_steps(steps, format_pace):
            line = f"{step.stage:>8} {_draw_bar(step)} {text}"
            sys.stderr.write(f"\r{line.ljust(len(shown))}")
            sys.stderr.flush()
            shown = "" if step.done == step.total else line
            if not shown:
                sys.stderr.write("\n")
    return reports[0]


def _draw_bar(step: Progress) -> str:
    share = step.done / max(step.total, 1)
    return f"{100 * share:3.0f}% |{'#' * round(_BAR_PX * share):<{_BAR_PX}}|"


def _print_line(text: str) -> None:
    sys.stderr.write(f"{escape_controls(text)}\n")
